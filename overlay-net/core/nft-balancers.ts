import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { PortConfig, PortProtocol } from '../../proto/gen/hatoba/v1/types.js';
import { assignBuckets } from './affinity.js';
import { BACKEND_MARK_TAG } from './link-names.js';
import { bridgeOf, linkedNetworks } from './link-plan.js';
import type { NetworkState } from './network-state.js';
import type { NftDraft, NftPlan } from './nft-model.js';
import { balanceChain, type Frontend } from './nft-ruleset.js';
import { assignSlots } from './slots.js';

const PROTOCOLS: Readonly<Record<PortProtocol, string>> = {
  PORT_PROTOCOL_TCP: 'tcp',
  PORT_PROTOCOL_UDP: 'udp',
  PORT_PROTOCOL_SCTP: 'sctp',
};

type Endpoints = readonly NetworkEndpoint[];

/**
 * Virtual addresses and published ports, each with its backends: the places of a balancer, one of
 * which is picked for every new connection. Fills the sets of the draft.
 */
export function planBalancers(
  state: NetworkState,
  draft: NftDraft,
  previous: NftPlan['slots'],
): Pick<NftPlan, 'slots' | 'chains'> {
  const slots = new Map<string, readonly string[]>();
  const chains = new Set<string>();
  const networks = new Map(linkedNetworks(state).map((n) => [n.networkId, n]));
  const groups = groupByService(state.endpoints);
  for (const service of state.services) {
    const endpoints = groups.get(groupKey(service)) ?? [];
    for (const balancer of balancersOf(service, networks.get(service.networkId))) {
      const { key, frontend, entry = key } = balancer;
      const isByClient = service.sessionAffinity === 'SESSION_AFFINITY_CLIENT_IP';
      const places = isByClient
        ? bucketsOf(endpoints)
        : assignSlots(previous.get(key) ?? [], readyAddresses(endpoints));
      // buckets follow from the endpoints alone
      if (!isByClient) slots.set(key, places);
      draft[SETS[frontend].known].set(key, '');
      if (places.length === 0) continue;
      const chain = balanceChain(frontend, places.length, isByClient);
      chains.add(chain);
      draft[SETS[frontend].chains].set(entry, `goto ${chain}`);
      for (const [place, address] of places.entries()) {
        const mark = `0x${(BACKEND_MARK_TAG + place).toString(16)}`;
        draft[SETS[frontend].backends].set(`${key} . ${mark}`, `${address}${balancer.target}`);
      }
    }
  }
  return { slots, chains };
}

/** Sets of all balancers of a kind, of their chains, and of the backends by place. */
const SETS = {
  vip: { known: 'vips', chains: 'vip_chains', backends: 'vip_backends' },
  port: { known: 'published_ports', chains: 'port_chains', backends: 'port_backends' },
  ipPort: { known: 'published_ip_ports', chains: 'ip_port_chains', backends: 'ip_port_backends' },
} as const;

interface Balancer {
  frontend: Frontend;
  /** What it is known by in the sets. */
  key: string;
  /** What leads to its chain, if more than the key. */
  entry?: string;
  /** What follows the address of a backend: " . 80". */
  target: string;
}

/** @param network the service's; undefined: this node does not have it */
function balancersOf(service: NetworkService, network: NetworkConfig | undefined): Balancer[] {
  if (network === undefined) return [];
  const { virtualIp: key, ports } = service;
  const published = network.ingress
    ? ports.filter((p) => p.publishMode === 'PUBLISH_MODE_INGRESS').map(portBalancer)
    : [];
  if (key === '') return published;
  const entry = `"${bridgeOf(network)}" . ${key}`;
  return [{ frontend: 'vip', key, entry, target: '' }, ...published];
}

function portBalancer(port: PortConfig): Balancer {
  const key = `${PROTOCOLS[port.protocol]} . ${port.publishedPort}`;
  const target = ` . ${port.targetPort}`;
  const isAnywhere = port.hostIp === '' || port.hostIp === '0.0.0.0';
  return isAnywhere
    ? { frontend: 'port', key, target }
    : { frontend: 'ipPort', key: `${port.hostIp} . ${key}`, target };
}

/** Addresses of the endpoints that may get new connections. */
function readyAddresses(endpoints: Endpoints): string[] {
  return endpoints.filter((e) => e.ready).map((e) => e.address);
}

/** A task of a global service has no slot, but a node. */
function bucketsOf(endpoints: Endpoints): string[] {
  return assignBuckets(
    endpoints.map(({ slot, nodeId, address, ready }) => ({
      home: slot === 0 ? nodeId : String(slot),
      address,
      ready,
    })),
  );
}

function groupByService(endpoints: Endpoints): Map<string, NetworkEndpoint[]> {
  const groups = new Map<string, NetworkEndpoint[]>();
  for (const endpoint of endpoints) {
    if (endpoint.serviceId === '' || endpoint.address === '') continue;
    const key = groupKey(endpoint);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [endpoint]);
    else group.push(endpoint);
  }
  return groups;
}

function groupKey(of: Pick<NetworkService, 'networkId' | 'serviceId'>): string {
  return `${of.networkId} ${of.serviceId}`;
}
