import { BACKEND_MARK_TAG, MARK_TAG_MASK, PEER_MARK_TAG } from './link-names.js';

/**
 * The one nftables table of this driver: fixed chains over sets and maps. Traffic is directed by
 * the elements alone, so that a change costs the same with ten services as with ten thousand.
 */
export const NFT_TABLE = 'hatoba';

/** Sets and maps, with the type of their keys and data. */
const SETS = {
  /** Bridges of all networks; of those without a way out; of the ingress network. */
  bridges: 'set { type ifname; }',
  internal_bridges: 'set { type ifname; }',
  ingress_bridges: 'set { type ifname; }',
  /** Bridges of networks of this node alone, and their gateways. */
  local_bridges: 'set { type ifname; }',
  local_gateways: 'set { type ipv4_addr; }',
  /** Every bridge paired with itself: traffic within one network. */
  same_bridge: 'set { type ifname . ifname; }',
  /** Subnets that may reach the outside. */
  nat_subnets: 'set { type ipv4_addr; flags interval; }',
  gateways: 'set { type ipv4_addr; }',
  vips: 'set { type ipv4_addr; }',
  /** Virtual address → the chain for its number of backends; none while there are no backends. */
  vip_chains: 'map { type ipv4_addr : verdict; }',
  vip_backends: 'map { type ipv4_addr . mark : ipv4_addr; }',
  /** Ports published by ingress, likewise. */
  port_chains: 'map { type inet_proto . inet_service : verdict; }',
  port_backends: 'map { type inet_proto . inet_service . mark : ipv4_addr . inet_service; }',
  /** Published ports whose service has no backend. */
  empty_ports: 'set { type inet_proto . inet_service; }',
  /** Every local endpoint paired with itself: a task that reaches itself by a virtual address. */
  hairpins: 'set { type ipv4_addr . ipv4_addr; }',
  /** Node and endpoint of the ingress network on that very node: see `postrouting`. */
  node_loops: 'set { type ipv4_addr . ipv4_addr; }',
  /** Host-mode ports: on all addresses of the host, and on one. */
  host_ports: 'map { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  host_ip_ports: 'map { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
  /** MAC of a peer's bridge → its mark. */
  peers: 'map { type ether_addr : mark; }',
} as const;

export type NftSet = keyof typeof SETS;

export const NFT_SETS: readonly NftSet[] = Object.keys(SETS) as NftSet[];

/**
 * The statements that make the whole table anew, still without elements, in one transaction.
 * @param underlayAddress own data path address; empty: the node has no overlay network
 */
export function formatTable(underlayAddress: string): string {
  const sets = Object.entries(SETS).map(([name, declaration]) => {
    const [kind, ...rest] = declaration.split(' ');
    return `${kind ?? ''} ${name} ${rest.join(' ')}`;
  });
  return [
    `table ip ${NFT_TABLE}`,
    `delete table ip ${NFT_TABLE}`,
    `table ip ${NFT_TABLE} {`,
    ...sets,
    ...natChains(underlayAddress),
    ...filterChains(),
    ...markChains(),
    '}',
  ].join('\n');
}

function natChains(underlayAddress: string): string[] {
  return [
    // Gateways answer DNS themselves; a virtual address without backends is rejected, below.
    'chain published {',
    'ip daddr @gateways return',
    'ip daddr @vips return',
    // containers reach published ports by the gateway too, but names are answered there
    'ip daddr @local_gateways meta l4proto { tcp, udp } th dport 53 return',
    'meta l4proto . th dport vmap @port_chains',
    'dnat to ip daddr . meta l4proto . th dport map @host_ip_ports',
    'dnat to meta l4proto . th dport map @host_ports',
    '}',
    'chain prerouting { type nat hook prerouting priority -100;',
    'ip daddr vmap @vip_chains',
    'fib daddr type local jump published',
    '}',
    'chain output { type nat hook output priority -100;',
    'fib daddr type local jump published',
    '}',
    'chain postrouting { type nat hook postrouting priority 100;',
    'ct status dnat ip saddr . ip daddr @hairpins masquerade',
    // A client on this host, perhaps by 127.0.0.1: it takes the gateway's address.
    'oifname @local_bridges ct status dnat fib saddr type local masquerade',
    ...overlaySourceRules(underlayAddress),
    'oifname != @bridges ip saddr @nat_subnets masquerade',
    '}',
  ];
}

function overlaySourceRules(underlayAddress: string): string[] {
  if (underlayAddress === '') return [];
  return [
    // Likewise on an overlay, but a gateway there is on every node. The data path address is local
    // to this node alone, and answers find their way back by the peer's mark.
    `oifname @bridges ct status dnat fib saddr type local snat to ${underlayAddress}`,
    // A node that comes in by another node and is led to a task of its own: that task's answer would
    // stay on its node, as the address is local there, and never get back to this one.
    `oifname @bridges ct status dnat ip saddr . ip daddr @node_loops snat to ${underlayAddress}`,
  ];
}

function filterChains(): string[] {
  return [
    'chain forward { type filter hook forward priority 0;',
    'iifname . oifname @same_bridge accept',
    // the virtual address of a network that the sender is not in
    'ct status dnat ct original ip daddr @vips drop',
    'ct status dnat accept',
    'iifname @bridges oifname @bridges drop',
    'iifname @internal_bridges drop',
    'oifname @internal_bridges drop',
    'iifname != @bridges oifname @bridges ct state new drop',
    '}',
    'chain input { type filter hook input priority 0;',
    'ip daddr @vips meta l4proto tcp reject with tcp reset',
    'ip daddr @vips reject',
    'ct state new fib daddr type local meta l4proto . th dport @empty_ports jump refuse',
    '}',
    'chain refuse {',
    'meta l4proto tcp reject with tcp reset',
    'reject',
    '}',
  ];
}

function markChains(): string[] {
  const backend = `meta mark and ${hex(MARK_TAG_MASK)} == ${hex(BACKEND_MARK_TAG)} meta mark set 0`;
  return [
    // route_localnet is on for local clients of published ports; containers must not use it
    'chain raw { type filter hook prerouting priority -300;',
    'iifname @bridges ip daddr 127.0.0.0/8 drop',
    '}',
    // What a peer sent in on behalf of a client is answered through that peer: the frame's source
    // is the peer's bridge. br_netfilter shows these bridged frames to this chain.
    'chain mangle { type filter hook prerouting priority -150;',
    'iifname @ingress_bridges ct state new ct mark set ether saddr map @peers',
    `iifname @ingress_bridges ct direction reply ct mark and ${hex(MARK_TAG_MASK)} == ${hex(PEER_MARK_TAG)} meta mark set ct mark`,
    '}',
    // the backend's index is of no use past the address translation
    'chain unmark { type filter hook prerouting priority -99;',
    backend,
    '}',
    'chain unmark_local { type filter hook output priority -99;',
    backend,
    // a virtual address in the sender's own subnet is reached in a detour on purpose
    'oifname @bridges icmp type redirect drop',
    '}',
  ];
}

/** Name of the chain that picks one of `count` backends: of a virtual address or of a port. */
export function balanceChain(kind: 'vip' | 'port', count: number): string {
  return `${kind === 'vip' ? 'n' : 'p'}${count}`;
}

/**
 * The statements that make such a chain. `numgen` cannot be part of a map's key, so the index
 * travels in the packet mark.
 */
export function formatBalanceChain(chain: string): string {
  const target = chain.startsWith('n')
    ? 'ip daddr . meta mark map @vip_backends'
    : 'meta l4proto . th dport . meta mark map @port_backends';
  const picks = [
    `numgen random mod ${chain.slice(1)} offset ${hex(BACKEND_MARK_TAG)}`,
    // reached when a place was just taken away between the two statements: the first one is there
    hex(BACKEND_MARK_TAG),
  ];
  return [
    `add chain ip ${NFT_TABLE} ${chain}`,
    `flush chain ip ${NFT_TABLE} ${chain}`,
    ...picks.flatMap((pick) => [
      `add rule ip ${NFT_TABLE} ${chain} meta mark set ${pick}`,
      `add rule ip ${NFT_TABLE} ${chain} dnat to ${target}`,
    ]),
  ].join('\n');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
