import type { NetworkEndpoint, NetworkService } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { PortProtocol } from '../../proto/gen/hatoba/v1/types.js';
import type { NetworkState, SandboxConfig } from './network-state.js';
import { BACKEND_MARK_TAG, peerMark } from './link-names.js';
import { bridgeOf, isLocalNetwork, linkedNetworks } from './link-plan.js';
import { bridgeMac } from './mac.js';
import { balanceChain, NFT_SETS, type NftSet } from './nft-ruleset.js';
import { assignSlots } from './slots.js';

/** Key → data of a map's elements; data of a set's is empty. */
export type NftElements = ReadonlyMap<NftSet, ReadonlyMap<string, string>>;

/** A host-mode port and the container behind it. */
export type HostPort = SandboxConfig['hostPorts'][number] & {
  /** Address of the container. */
  address: string;
};

/** What the table must hold. */
export interface NftPlan {
  elements: NftElements;
  /** Backends by place, per load balancer; given to the next plan, so that places are kept. */
  slots: ReadonlyMap<string, readonly string[]>;
  /** Chains that elements jump to. */
  chains: ReadonlySet<string>;
}

type Draft = Record<NftSet, Map<string, string>>;

const PROTOCOLS: Readonly<Record<PortProtocol, string>> = {
  PORT_PROTOCOL_TCP: 'tcp',
  PORT_PROTOCOL_UDP: 'udp',
  PORT_PROTOCOL_SCTP: 'sctp',
};

/** The elements for a state of the networks and the host-mode ports of the sandboxes. */
export function planNft(
  state: NetworkState,
  hostPorts: readonly HostPort[],
  previous: NftPlan['slots'],
): NftPlan {
  const draft = Object.fromEntries(NFT_SETS.map((s) => [s, new Map()])) as Draft;
  const slots = new Map<string, readonly string[]>();
  const chains = new Set<string>();
  const ingress = planNetworks(state, draft);
  const ready = groupReady(state.endpoints);
  for (const service of state.services) {
    const backends = ready.get(groupKey(service)) ?? [];
    if (service.virtualIp !== '') {
      const key = service.virtualIp;
      const placed = assignSlots(previous.get(key) ?? [], backends);
      slots.set(key, placed);
      planVip(key, placed, draft, chains);
    }
    if (service.networkId !== ingress) continue;
    for (const port of service.ports) {
      if (port.publishMode !== 'PUBLISH_MODE_INGRESS') continue;
      const key = `${PROTOCOLS[port.protocol]} . ${port.publishedPort}`;
      const placed = assignSlots(previous.get(key) ?? [], backends);
      slots.set(key, placed);
      planPort(key, placed, port.targetPort, draft, chains);
    }
  }
  planLoops(state, ingress, draft);
  for (const port of hostPorts) planHostPort(port, draft);
  return { elements: new Map(NFT_SETS.map((s) => [s, draft[s]])), slots, chains };
}

/** @returns the id of the ingress network, if there is one */
function planNetworks(state: NetworkState, draft: Draft): string | undefined {
  let ingress: string | undefined;
  for (const network of linkedNetworks(state)) {
    const bridge = `"${bridgeOf(network)}"`;
    draft.bridges.set(bridge, '');
    draft.same_bridge.set(`${bridge} . ${bridge}`, '');
    const isLocal = isLocalNetwork(network);
    if (isLocal) draft.local_bridges.set(bridge, '');
    if (network.internal) draft.internal_bridges.set(bridge, '');
    for (const { subnet, gateway } of network.subnets) {
      draft[isLocal ? 'local_gateways' : 'gateways'].set(gateway, '');
      if (!network.internal) draft.nat_subnets.set(subnet, '');
    }
    if (!network.ingress) continue;
    ingress = network.networkId;
    draft.ingress_bridges.set(bridge, '');
    for (const peer of state.peers) {
      if (peer.nodeId === state.nodeId) continue;
      draft.peers.set(bridgeMac(peer.index, network.vni), markLiteral(peerMark(peer.index)));
    }
  }
  return ingress;
}

function planVip(
  vip: string,
  backends: readonly string[],
  draft: Draft,
  chains: Set<string>,
): void {
  draft.vips.set(vip, '');
  if (backends.length === 0) return;
  const chain = balanceChain('vip', backends.length);
  chains.add(chain);
  draft.vip_chains.set(vip, `goto ${chain}`);
  for (const [index, address] of backends.entries()) {
    draft.vip_backends.set(`${vip} . ${markLiteral(BACKEND_MARK_TAG + index)}`, address);
  }
}

function planPort(
  port: string,
  backends: readonly string[],
  targetPort: number,
  draft: Draft,
  chains: Set<string>,
): void {
  if (backends.length === 0) {
    draft.empty_ports.set(port, '');
    return;
  }
  const chain = balanceChain('port', backends.length);
  chains.add(chain);
  draft.port_chains.set(port, `goto ${chain}`);
  for (const [index, address] of backends.entries()) {
    const key = `${port} . ${markLiteral(BACKEND_MARK_TAG + index)}`;
    draft.port_backends.set(key, `${address} . ${targetPort}`);
  }
}

/** Where a client and its backend are one: the container itself, or its node. */
function planLoops(state: NetworkState, ingress: string | undefined, draft: Draft): void {
  const nodes = new Map(state.peers.map((p) => [p.nodeId, p.dataPathAddress]));
  for (const { networkId, nodeId, address } of state.endpoints) {
    if (address === '') continue;
    const node = nodes.get(nodeId) ?? '';
    if (nodeId === state.nodeId) draft.hairpins.set(`${address} . ${address}`, '');
    else if (networkId === ingress && node !== '') draft.node_loops.set(`${node} . ${address}`, '');
  }
}

function planHostPort(port: HostPort, draft: Draft): void {
  const key = `${port.protocol} . ${port.publishedPort}`;
  const target = `${port.address} . ${port.targetPort}`;
  if (port.hostIp === '' || port.hostIp === '0.0.0.0') draft.host_ports.set(key, target);
  else draft.host_ip_ports.set(`${port.hostIp} . ${key}`, target);
}

/** Addresses of the endpoints that may get new connections, by network and service. */
function groupReady(endpoints: readonly NetworkEndpoint[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const endpoint of endpoints) {
    if (!endpoint.ready || endpoint.serviceId === '' || endpoint.address === '') continue;
    const key = groupKey(endpoint);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [endpoint.address]);
    else group.push(endpoint.address);
  }
  return groups;
}

function groupKey(of: Pick<NetworkService, 'networkId' | 'serviceId'>): string {
  return `${of.networkId} ${of.serviceId}`;
}

function markLiteral(mark: number): string {
  return `0x${mark.toString(16)}`;
}
