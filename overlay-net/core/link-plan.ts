import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { BridgePort, VxlanInfo } from '../../linux/ports.js';
import { HatobaError } from '../../common/errors.js';
import type { NetworkState } from './network-state.js';
import { parseCidr } from './ipam.js';
import {
  addressEntry,
  bridgeFdbEntry,
  neighbourEntry,
  putEntry as put,
  subnetRouteEntry,
  vxlanFdbEntry,
  type Entry,
} from './link-entries.js';
import { bridgeName, localBridgeName, vxlanName } from './link-names.js';
import { bridgeMac, endpointMac } from './mac.js';
import { firstSubnet } from './subnets.js';

/** Bytes that VXLAN adds to a packet: outer IPv4, UDP and VXLAN headers, inner Ethernet header. */
export const VXLAN_OVERHEAD_BYTES = 50;
/** MTU of bridges of this node alone, where nothing else is said. */
const DEFAULT_MTU_BYTES = 1500;
/** Registered for VXLAN. */
const DEFAULT_TUNNEL_PORT = 4789;
/** A VXLAN port learns nothing, floods nothing, and its bridge answers ARP for what is behind it. */
const TUNNEL_PORT = {
  learning: false,
  flood: false,
  mcastFlood: false,
  bcastFlood: false,
  neighSuppress: true,
} as const satisfies Partial<BridgePort>;

/** The end of this node's tunnels. */
export interface Underlay {
  /** Own data path address; empty while the node has none and no overlay network. */
  address: string;
  mtuBytes: number;
}

export function isSameUnderlay(a: Underlay, b: Underlay): boolean {
  return a.address === b.address && a.mtuBytes === b.mtuBytes;
}

export interface PlannedLink {
  kind: 'bridge' | 'vxlan';
  name: string;
  mtuBytes: number;
  /** Bridges only: VXLAN devices never send frames of their own. */
  mac?: string;
  /** What of a link cannot be changed once it is made. */
  tunnel?: VxlanInfo;
  /** The bridge that it is a port of, and how it behaves as one. */
  master?: string;
  port?: Partial<BridgePort>;
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
      `node ${state.nodeId} has no data path address of IPv4 among the ${state.peers.length} peers: see the agent's dataPathAddr`,
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

/** UDP port of a network's tunnels. */
export function tunnelPort({ dataPathPort }: NetworkConfig): number {
  return dataPathPort === 0 ? DEFAULT_TUNNEL_PORT : dataPathPort;
}

/**
 * What the kernel of this node must hold for its networks:
 * 1. A bridge with the gateway address of every subnet and every virtual address, and a VXLAN port,
 *    per network.
 * 2. A neighbour for every endpoint, so that no address is ever asked for on the wire.
 * 3. For every remote endpoint its MAC twice: on the bridge (behind the VXLAN port) and on the VXLAN
 *    device (behind which node). The kernel keeps two tables and a frame needs both.
 *    Networks of this node alone have none of these: whoever is there answers for itself.
 * 4. On the ingress network the bridges of all peers, likewise: they send on behalf of clients.
 */
export function planLinks(state: NetworkState, underlay: Underlay): LinkPlan {
  const links = new Map<string, PlannedLink>();
  const entries = new Map<string, Entry>();
  const vnis = new Map<string, number>();
  const bridges = new Map<string, string>();
  for (const network of linkedNetworks(state)) {
    const bridge = planBridge(network, state, underlay);
    links.set(bridge.name, bridge);
    bridges.set(network.networkId, bridge.name);
    planGateways(network, bridge.name, entries);
    if (isLocalNetwork(network)) continue;
    vnis.set(network.networkId, network.vni);
    const tunnel = planTunnel(network, bridge, underlay);
    links.set(tunnel.name, tunnel);
    if (network.ingress) planPeerBridges(state, network.vni, entries);
  }
  for (const { networkId, virtualIp } of state.services) {
    const bridge = bridges.get(networkId);
    if (bridge === undefined || virtualIp === '') continue;
    put(entries, addressEntry(bridge, `${virtualIp}/32`));
  }
  planEndpoints(state, vnis, entries);
  return { links, entries };
}

function planBridge(network: NetworkConfig, state: NetworkState, underlay: Underlay): PlannedLink {
  const mac = isLocalNetwork(network)
    ? endpointMac(firstSubnet(network).gateway)
    : bridgeMac(ownPeer(state).index, network.vni);
  const mtuBytes = networkMtu(network, underlay);
  return { kind: 'bridge', name: bridgeOf(network), mtuBytes, mac };
}

function planTunnel(network: NetworkConfig, bridge: PlannedLink, underlay: Underlay): PlannedLink {
  const { vni } = network;
  const { mtuBytes, name: master } = bridge;
  const { address: localAddress } = underlay;
  const tunnel = { vni, localAddress, port: tunnelPort(network), learning: false };
  return { kind: 'vxlan', name: vxlanName(vni), mtuBytes, tunnel, master, port: TUNNEL_PORT };
}

function planGateways(
  { subnets }: NetworkConfig,
  bridge: string,
  entries: Map<string, Entry>,
): void {
  for (const { subnet, gateway } of subnets) {
    const cidr = `${gateway}/${parseCidr(subnet).prefixLength}`;
    put(entries, addressEntry(bridge, cidr));
    put(entries, subnetRouteEntry(bridge, subnet, cidr));
  }
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
    if (endpoint.nodeId === state.nodeId || destination === '') continue;
    put(entries, bridgeFdbEntry(vxlanName(vni), mac));
    put(entries, vxlanFdbEntry(vxlanName(vni), mac, destination));
  }
}

function planPeerBridges(state: NetworkState, vni: number, entries: Map<string, Entry>): void {
  const vxlan = vxlanName(vni);
  for (const peer of state.peers) {
    if (peer.nodeId === state.nodeId || peer.dataPathAddress === '') continue;
    const mac = bridgeMac(peer.index, vni);
    put(entries, bridgeFdbEntry(vxlan, mac));
    put(entries, vxlanFdbEntry(vxlan, mac, peer.dataPathAddress));
  }
}
