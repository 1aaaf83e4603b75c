import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { EntryOp } from './kernel-model.js';
import { HatobaError } from '../../common/errors.js';
import type { NetworkState } from './network-state.js';
import { parseCidr } from './ipam.js';
import { bridgeName, localBridgeName, RULE_PRIORITY, vxlanName } from './link-names.js';
import { bridgeMac, endpointMac } from './mac.js';
import { firstSubnet } from './subnets.js';

/** Bytes that VXLAN adds to a packet: outer IPv4, UDP and VXLAN headers, inner Ethernet header. */
export const VXLAN_OVERHEAD_BYTES = 50;
/** MTU of bridges of this node alone, where nothing else is said. */
const DEFAULT_MTU_BYTES = 1500;
const MARK_MASK = 0xffffffff;

/** The end of this node's tunnels. */
export interface Underlay {
  /** Own data path address; empty while the node has none and no overlay network. */
  address: string;
  mtuBytes: number;
  /** UDP port of VXLAN. */
  port: number;
}

export interface PlannedLink {
  kind: 'bridge' | 'vxlan';
  name: string;
  mtuBytes: number;
  /** Bridges only: VXLAN devices never send frames of their own. */
  mac?: string;
  /** The number in its name: the VNI, or the first address of a subnet of this node alone. */
  vni: number;
  /** VXLAN devices: the bridge they are a port of. */
  master?: string;
}

/** Anything on links but the links themselves: an address, a neighbour, a route, a rule … */
export interface Entry {
  /** What is changed by replacing it; two entries of one key exclude each other. */
  value: string;
  /** The link with which it disappears; empty: none. */
  link: string;
  add: EntryOp;
  del: EntryOp;
}

/** Kernel state of all networks of a node, wanted or observed. */
export interface LinkPlan {
  links: ReadonlyMap<string, PlannedLink>;
  entries: ReadonlyMap<string, Entry>;
}

/** The networks that span nodes. */
export function overlayNetworks(state: NetworkState): NetworkConfig[] {
  return state.networks.filter((n) => n.driver === 'overlay' || n.driver === '');
}

/** Whether a network is of this node alone: a bridge without tunnels. */
export function isLocalNetwork({ driver }: NetworkConfig): boolean {
  return driver === 'bridge';
}

/** The networks that are made of links of ours. */
export function linkedNetworks(state: NetworkState): NetworkConfig[] {
  return [...overlayNetworks(state), ...state.networks.filter(isLocalNetwork)];
}

/** The bridge of a network. */
export function bridgeOf(network: NetworkConfig): string {
  return isLocalNetwork(network)
    ? localBridgeName(parseCidr(firstSubnet(network).subnet).base)
    : bridgeName(network.vni);
}

/** MTU of a network's links. */
export function networkMtu(network: NetworkConfig, underlay: Underlay): number {
  if (network.mtuBytes > 0) return network.mtuBytes;
  return isLocalNetwork(network) ? DEFAULT_MTU_BYTES : underlay.mtuBytes - VXLAN_OVERHEAD_BYTES;
}

/**
 * The own end of the tunnels.
 * @throws {HatobaError} failed-precondition when the node is not among the peers
 */
export function ownPeer(state: NetworkState): NetworkState['peers'][number] {
  const own = state.peers.find((p) => p.nodeId === state.nodeId);
  if (own === undefined || own.dataPathAddress === '') {
    throw new HatobaError(
      'failed-precondition',
      `node ${state.nodeId} has no data path address among the ${state.peers.length} peers`,
    );
  }
  return own;
}

/**
 * Own data path address; empty when the node is not among the peers and needs none, as it has no
 * overlay network.
 * @throws {HatobaError} failed-precondition as ownPeer
 */
export function dataPathAddress(state: NetworkState): string {
  const isPeer = state.peers.some((p) => p.nodeId === state.nodeId && p.dataPathAddress !== '');
  return isPeer || overlayNetworks(state).length > 0 ? ownPeer(state).dataPathAddress : '';
}

/**
 * What the kernel of this node must hold for its networks:
 * 1. A bridge with the gateway address and every virtual address, and a VXLAN port, per network.
 * 2. A neighbour for every endpoint, so that no address is ever asked for on the wire.
 * 3. For every remote endpoint its MAC twice: on the bridge (behind the VXLAN port) and on the VXLAN
 *    device (behind which node). The kernel keeps two tables and a frame needs both.
 *    Networks of this node alone have none of these: whoever is there answers for itself.
 * 4. On the ingress network a way back to every peer, for answers to what came in through it.
 */
export function planLinks(state: NetworkState, underlay: Underlay): LinkPlan {
  const links = new Map<string, PlannedLink>();
  const entries = new Map<string, Entry>();
  const vnis = new Map<string, number>();
  for (const network of linkedNetworks(state)) {
    const bridge = bridgeOf(network);
    for (const { subnet, gateway } of network.subnets) {
      put(entries, addressEntry(bridge, `${gateway}/${parseCidr(subnet).prefixLength}`));
    }
    const common = { mtuBytes: networkMtu(network, underlay) };
    if (isLocalNetwork(network)) {
      const { subnet, gateway } = firstSubnet(network);
      const mac = endpointMac(gateway);
      const vni = parseCidr(subnet).base;
      links.set(bridge, { kind: 'bridge', name: bridge, ...common, mac, vni });
      continue;
    }
    const { vni } = network;
    vnis.set(network.networkId, vni);
    const own = ownPeer(state);
    const mac = bridgeMac(own.index, vni);
    const vxlan = vxlanName(vni);
    links.set(bridge, { kind: 'bridge', name: bridge, ...common, mac, vni });
    links.set(vxlan, { kind: 'vxlan', name: vxlan, ...common, vni, master: bridge });
    if (network.ingress) planReturnPaths(state, own.nodeId, vni, entries);
  }
  for (const service of state.services) {
    const vni = vnis.get(service.networkId);
    if (vni === undefined || service.virtualIp === '') continue;
    put(entries, addressEntry(bridgeName(vni), `${service.virtualIp}/32`));
  }
  planEndpoints(state, vnis, entries);
  return { links, entries };
}

function planEndpoints(
  state: NetworkState,
  vnis: ReadonlyMap<string, number>,
  entries: Map<string, Entry>,
): void {
  const peers = new Map(state.peers.map((p) => [p.nodeId, p.dataPathAddress]));
  for (const endpoint of state.endpoints) {
    const vni = vnis.get(endpoint.networkId);
    const destination = peers.get(endpoint.nodeId);
    if (vni === undefined || destination === undefined || endpoint.address === '') continue;
    const mac = endpointMac(endpoint.address);
    put(entries, neighbourEntry(bridgeName(vni), endpoint.address, mac));
    if (endpoint.nodeId === state.nodeId) continue;
    put(entries, bridgeFdbEntry(vxlanName(vni), mac));
    put(entries, vxlanFdbEntry(vxlanName(vni), mac, destination));
  }
}

/**
 * Answers to connections that came in through a peer carry its mark (see nft-ruleset.ts) and are
 * routed back to that peer's bridge. The rule is bound to the bridge: without `iif` the lookup of
 * VXLAN's own outer packet, which inherits the mark, would match too and loop.
 */
function planReturnPaths(
  state: NetworkState,
  ownNodeId: string,
  vni: number,
  entries: Map<string, Entry>,
): void {
  const vxlan = vxlanName(vni);
  for (const peer of state.peers) {
    if (peer.nodeId === ownNodeId || peer.dataPathAddress === '') continue;
    const mac = bridgeMac(peer.index, vni);
    put(entries, bridgeFdbEntry(vxlan, mac));
    put(entries, vxlanFdbEntry(vxlan, mac, peer.dataPathAddress));
  }
}

type Keyed = readonly [key: string, entry: Entry];

function put(entries: Map<string, Entry>, [key, entry]: Keyed): void {
  entries.set(key, entry);
}

export function addressEntry(link: string, cidr: string): Keyed {
  const key = `address ${link} ${cidr}`;
  return [
    key,
    {
      value: '',
      link,
      add: { op: 'address-add', link, cidr },
      del: { op: 'address-del', link, cidr },
    },
  ];
}

export function neighbourEntry(link: string, address: string, mac: string): Keyed {
  return [
    `neigh ${link} ${address}`,
    {
      value: mac,
      link,
      add: { op: 'neigh-add', link, address, mac },
      del: { op: 'neigh-del', link, address, mac },
    },
  ];
}

export function bridgeFdbEntry(link: string, mac: string): Keyed {
  return [
    `fdb master ${link} ${mac}`,
    {
      value: '',
      link,
      add: { op: 'fdb-add', link, mac, where: 'master' },
      del: { op: 'fdb-del', link, mac, where: 'master' },
    },
  ];
}

export function vxlanFdbEntry(link: string, mac: string, destination: string): Keyed {
  return [
    `fdb self ${link} ${mac}`,
    {
      value: destination,
      link,
      add: { op: 'fdb-add', link, mac, where: 'self', destination },
      del: { op: 'fdb-del', link, mac, where: 'self', destination },
    },
  ];
}

export function routeEntry(link: string, table: number, via: string): Keyed {
  const route = { destination: 'default', via, link, onlink: true, table } as const;
  return [
    `route ${table}`,
    {
      value: `${via} ${link}`,
      link,
      add: { op: 'route-add', ...route },
      del: { op: 'route-del', ...route },
    },
  ];
}

export function ruleEntry(iif: string, mark: number): Keyed {
  const rule = {
    priority: RULE_PRIORITY,
    table: mark,
    iif,
    fwmark: { mark, mask: MARK_MASK },
  } as const;
  // not bound to the link: a rule outlives the interface that it names
  return [
    `rule ${iif} ${mark}`,
    { value: '', link: '', add: { op: 'rule-add', ...rule }, del: { op: 'rule-del', ...rule } },
  ];
}
