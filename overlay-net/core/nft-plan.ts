import { planBalancers } from './nft-balancers.js';
import { bridgeOf, isLocalNetwork, linkedNetworks, tunnelPort } from './link-plan.js';
import { peerMark } from './link-names.js';
import { bridgeMac } from './mac.js';
import type { NetworkState, SandboxConfig } from './network-state.js';
import type { NftDraft, NftPlan } from './nft-model.js';
import { NFT_SETS } from './nft-ruleset.js';
import type { SandboxPort } from './sandbox-plan.js';

/** A host-mode port and the container behind it. */
export type HostPort = SandboxConfig['hostPorts'][number] & {
  /** Address of the container. */
  address: string;
};

/** What the tables must follow. */
export interface NftInput {
  state: NetworkState;
  hostPorts: readonly HostPort[];
  /** The host's ends of containers' links. */
  ports: readonly SandboxPort[];
}

/** The elements for what there is on this node. */
export function planNft(input: NftInput, previous: NftPlan['slots']): NftPlan {
  const { state } = input;
  const draft = Object.fromEntries(NFT_SETS.map((s) => [s, new Map()])) as NftDraft;
  planNetworks(state, draft);
  planPeers(state, draft);
  const { slots, chains } = planBalancers(state, draft, previous);
  for (const { nodeId, address } of state.endpoints) {
    if (nodeId !== state.nodeId || address === '') continue;
    draft.hairpins.set(`${address} . ${address}`, '');
  }
  for (const port of input.hostPorts) planHostPort(port, draft);
  for (const { hostLink, mac, address } of input.ports) {
    draft.senders.set(`"${hostLink}" . ${mac} . ${address}`, '');
  }
  return { elements: new Map(NFT_SETS.map((s) => [s, draft[s]])), slots, chains };
}

function planNetworks(state: NetworkState, draft: NftDraft): void {
  for (const network of linkedNetworks(state)) {
    const bridge = `"${bridgeOf(network)}"`;
    const isLocal = isLocalNetwork(network);
    draft.bridges.set(bridge, '');
    draft.same_bridge.set(`${bridge} . ${bridge}`, '');
    if (isLocal) draft.local_bridges.set(bridge, '');
    else draft.tunnel_ports.set(String(tunnelPort(network)), '');
    if (network.internal) draft.internal_bridges.set(bridge, '');
    if (network.hostAccess) draft.open_bridges.set(bridge, '');
    if (network.ingress) draft.ingress_bridges.set(bridge, '');
    for (const { subnet, gateway } of network.subnets) {
      draft[isLocal ? 'local_gateways' : 'gateways'].set(gateway, '');
      draft.own_gateways.set(`${bridge} . ${gateway}`, '');
      if (!network.internal) draft.nat_subnets.set(subnet, '');
    }
  }
}

function planPeers(state: NetworkState, draft: NftDraft): void {
  const ingress = linkedNetworks(state).filter((n) => n.ingress && !isLocalNetwork(n));
  for (const { nodeId, index, dataPathAddress } of state.peers) {
    if (dataPathAddress !== '') draft.nodes.set(dataPathAddress, '');
    if (nodeId === state.nodeId) continue;
    for (const { vni } of ingress) {
      const mark = markLiteral(peerMark(index));
      draft.peers.set(bridgeMac(index, vni), mark);
      draft.peer_bridges.set(mark, bridgeMac(index, vni));
    }
  }
}

function planHostPort(port: HostPort, draft: NftDraft): void {
  const key = `${port.protocol} . ${port.publishedPort}`;
  const target = `${port.address} . ${port.targetPort}`;
  if (port.hostIp === '' || port.hostIp === '0.0.0.0') draft.host_ports.set(key, target);
  else draft.host_ip_ports.set(`${port.hostIp} . ${key}`, target);
}

export function markLiteral(mark: number): string {
  return `0x${mark.toString(16)}`;
}
