import { BACKEND_MARK_TAG, MARK_TAG_MASK, PEER_MARK_TAG } from './link-names.js';

/** The fixed chains of the tables; the sets that they look into are in nft-ruleset.ts. */

const DNS = 'meta l4proto { tcp, udp } th dport 53';
const PUBLISHED = [
  'meta l4proto . th dport @published_ports',
  'ip daddr . meta l4proto . th dport @published_ip_ports',
];

/**
 * Where connections are led to. A backend sees the client's own address, wherever it is and by
 * whichever node it comes in; but for clients that have none there (see `postrouting`).
 * @param underlayAddress own data path address; empty: the node has no overlay network
 */
export function natChains(underlayAddress: string): string[] {
  return [
    // Gateways answer DNS themselves; a virtual address without backends is refused, below.
    'chain published {',
    'ip daddr @gateways return',
    'ip daddr @vips return',
    // containers reach published ports by the gateway too, but names are answered there
    `ip daddr @local_gateways ${DNS} return`,
    'ip daddr . meta l4proto . th dport vmap @ip_port_chains',
    'dnat to ip daddr . meta l4proto . th dport map @host_ip_ports',
    'meta l4proto . th dport vmap @port_chains',
    'dnat to meta l4proto . th dport map @host_ports',
    '}',
    'chain prerouting { type nat hook prerouting priority -100;',
    'iifname . ip daddr vmap @vip_chains',
    // a neighbour on the wire could send this, and must not get at what is for this host alone
    'iifname != "lo" ip daddr 127.0.0.0/8 return',
    'fib daddr type local jump published',
    '}',
    'chain output { type nat hook output priority -100;',
    'fib daddr type local jump published',
    '}',
    'chain postrouting { type nat hook postrouting priority 100;',
    'ct status dnat ip saddr . ip daddr @hairpins masquerade',
    // 127.0.0.1 is nobody's own
    'ct status dnat oifname @bridges ip saddr 127.0.0.0/8 goto as_this_node',
    // A container that comes by a published port is seen as its node, as it is from everywhere
    // else: the backend may be in the container's network too, and would answer it past this node.
    'ct status dnat iifname @bridges oifname @bridges iifname . oifname != @same_bridge goto as_this_node',
    'oifname != @bridges ip saddr @nat_subnets masquerade',
    '}',
    'chain as_this_node {',
    'oifname @local_bridges masquerade',
    // A gateway of an overlay is on every node, the data path address on this one alone.
    ...(underlayAddress === '' ? [] : [`snat to ${underlayAddress}`]),
    '}',
  ];
}

/** Who may reach what: networks are apart from each other and from the nodes. */
export function filterChains(): string[] {
  return [
    'chain forward { type filter hook forward priority 0;',
    'iifname . oifname @same_bridge accept',
    'ct status dnat accept',
    'iifname @bridges oifname @bridges goto forbid',
    'iifname @bridges ip daddr @nodes ct state new jump to_node',
    'iifname @internal_bridges goto forbid',
    'oifname @internal_bridges drop',
    'iifname != @bridges oifname @bridges ct state new drop',
    '}',
    // What is published there is for everybody, the rest of another node for nobody.
    'chain to_node {',
    'iifname @open_bridges return',
    ...PUBLISHED.map((published) => `${published} return`),
    'goto forbid',
    '}',
    // A published port that gets here was led nowhere: it has no backend.
    'chain input { type filter hook input priority 0;',
    'ip daddr @vips goto refuse',
    'ct state established,related accept',
    ...PUBLISHED.map((published) => `${published} fib daddr type local goto refuse`),
    'iifname @bridges goto from_container',
    '}',
    'chain from_container {',
    `iifname . ip daddr @own_gateways ${DNS} accept`,
    'iifname . ip daddr @own_gateways icmp type echo-request accept',
    'iifname @open_bridges accept',
    'goto forbid',
    '}',
    // Both are told, so that who asks need not wait for nothing.
    'chain refuse {',
    'meta l4proto tcp reject with tcp reset',
    'reject',
    '}',
    'chain forbid {',
    'meta l4proto tcp reject with tcp reset',
    'reject with icmp type admin-prohibited',
    '}',
  ];
}

/** The first byte of the MACs of peers' bridges, see core/mac.ts; read here as part of the frame. */
const FROM_A_BRIDGE = '@ll,48,8 0x06';

/**
 * Marks, what is never let in, and what is never sent. Every packet goes through these chains, those
 * of the tunnels too, so a rule compares with constants before it looks anything up in a set: a
 * round trip between containers on two hosts takes 3 % less time for it.
 */
export function markChains(underlayAddress: string): string[] {
  const backend = `${tagged('meta mark', BACKEND_MARK_TAG)} meta mark set 0`;
  return [
    'chain raw { type filter hook prerouting priority -300;',
    // route_localnet is on for local clients of published ports; containers must not use it
    'ip daddr 127.0.0.0/8 iifname @bridges drop',
    // whoever else could send frames into any network
    ...(underlayAddress === ''
      ? []
      : [`ip daddr ${underlayAddress} udp dport @tunnel_ports ip saddr != @nodes drop`]),
    // One port of a client may be connected to one task by two nodes at once: each peer's connections
    // are apart, in a zone by the index in its bridge's MAC (core/mac.ts). Answers are in no zone, so
    // the later of two gets another port there.
    `${FROM_A_BRIDGE} iifname @ingress_bridges ct original zone set @ll,56,16`,
    '}',
    // What a peer sends in on behalf of a client is answered through that peer: the frame's source
    // is the peer's bridge. br_netfilter shows these bridged frames to this chain, and their mark
    // to the bridge's chain `way_back`.
    'chain mangle { type filter hook prerouting priority -150;',
    `${FROM_A_BRIDGE} iifname @ingress_bridges ct direction original ct mark set ether saddr map @peers`,
    `${tagged('ct mark', PEER_MARK_TAG)} iifname @ingress_bridges ct direction reply meta mark set ct mark`,
    '}',
    // the backend's place is of no use past the address translation
    'chain unmark { type filter hook prerouting priority -99;',
    backend,
    '}',
    'chain unmark_local { type filter hook output priority -99;',
    backend,
    '}',
    'chain output_filter { type filter hook output priority 0;',
    // a virtual address in the sender's own subnet is reached in a detour on purpose
    'icmp type redirect oifname @bridges drop',
    // Nobody answers names while the agent is away, but it will be back: a resolver that hears
    // nothing asks again. (inner header: 20 bytes, UDP, to port 53)
    ...['gateways', 'local_gateways'].map(
      (set) =>
        'icmp type destination-unreachable icmp code port-unreachable ' +
        `ip saddr @${set} @th,64,8 0x45 @th,136,8 17 @th,240,16 53 drop`,
    ),
    '}',
  ];
}

/** What frames between ports of bridges go through. */
export function bridgeChains(): string[] {
  return [
    'counter forged { }',
    // Names of the host's ends of containers' links begin so, see sandbox/.
    'chain from_container { type filter hook prerouting priority -300;',
    'iifname "hs*" jump own_addresses_only',
    '}',
    'chain own_addresses_only {',
    'ether type ip iifname . ether saddr . ip saddr @senders return',
    'ether type arp iifname . ether saddr . arp saddr ip @senders ' +
      'iifname . arp saddr ether . arp saddr ip @senders return',
    'counter name "forged" drop',
    '}',
    // After br_netfilter (priority 0), which lets the chain `mangle` set the mark. The address of a
    // client may be one of this very host, so the answer is not routed but led to the peer's bridge.
    'chain way_back { type filter hook prerouting priority 100;',
    `${tagged('meta mark', PEER_MARK_TAG)} ether daddr set meta mark map @peer_bridges meta mark set 0`,
    '}',
  ];
}

function tagged(mark: string, tag: number): string {
  return `${mark} and ${hex(MARK_TAG_MASK)} == ${hex(tag)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
