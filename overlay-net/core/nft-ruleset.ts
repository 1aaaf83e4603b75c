import { bridgeChains, filterChains, markChains, natChains } from './nft-chains.js';
import { BACKEND_MARK_TAG } from './link-names.js';

/**
 * The nftables tables of this driver: fixed chains over sets and maps. Traffic is directed by
 * the elements alone, so that a change costs the same with ten services as with ten thousand.
 * One table sees packets (family ip), the other one frames between ports of bridges.
 */
export const NFT_TABLE = 'hatoba';

export type NftFamily = 'ip' | 'bridge';

/** Counts the packets of UDP for which a backend was picked: the first one of each flow. */
export const PICKS_OF_UDP = { family: 'ip', table: NFT_TABLE, name: 'picks_of_udp' } as const;

/** Sets and maps of the table of family ip, with the type of their keys and data. */
const IP_SETS = {
  /** Bridges of all networks; of those without a way out; of the ingress network. */
  bridges: 'set { type ifname; }',
  internal_bridges: 'set { type ifname; }',
  ingress_bridges: 'set { type ifname; }',
  /** Bridges whose containers may reach what listens on the nodes. */
  open_bridges: 'set { type ifname; }',
  /** Bridges of networks of this node alone, and their gateways. */
  local_bridges: 'set { type ifname; }',
  local_gateways: 'set { type ipv4_addr; }',
  /** Every bridge paired with itself: traffic within one network. */
  same_bridge: 'set { type ifname . ifname; }',
  /** Subnets that may reach the outside. */
  nat_subnets: 'set { type ipv4_addr; flags interval; }',
  gateways: 'set { type ipv4_addr; }',
  /** Bridge and gateway address of each network. */
  own_gateways: 'set { type ifname . ipv4_addr; }',
  vips: 'set { type ipv4_addr; }',
  /**
   * Bridge of its network and virtual address → the chain that picks a backend; none while there are
   * no backends.
   */
  vip_chains: 'map { type ifname . ipv4_addr : verdict; }',
  vip_backends: 'map { type ipv4_addr . mark : ipv4_addr; }',
  /** Ports published by ingress on all addresses of each node, likewise. */
  published_ports: 'set { type inet_proto . inet_service; }',
  port_chains: 'map { type inet_proto . inet_service : verdict; }',
  port_backends: 'map { type inet_proto . inet_service . mark : ipv4_addr . inet_service; }',
  /** The same on one address alone. */
  published_ip_ports: 'set { type ipv4_addr . inet_proto . inet_service; }',
  ip_port_chains: 'map { type ipv4_addr . inet_proto . inet_service : verdict; }',
  ip_port_backends:
    'map { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }',
  /** Every local endpoint paired with itself: a task that reaches itself by a virtual address. */
  hairpins: 'set { type ipv4_addr . ipv4_addr; }',
  /** Host-mode ports: on all addresses of the host, and on one. */
  host_ports: 'map { type inet_proto . inet_service : ipv4_addr . inet_service; }',
  host_ip_ports: 'map { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }',
  /** MAC of a peer's bridge → its mark. */
  peers: 'map { type ether_addr : mark; }',
  /** Data path addresses of all nodes, and the UDP ports of their tunnels. */
  nodes: 'set { type ipv4_addr; }',
  tunnel_ports: 'set { type inet_service; }',
} as const;

/** Those of the table of family bridge. */
const BRIDGE_SETS = {
  /** The host's end of each container's link, and the addresses that may send there. */
  senders: 'set { type ifname . ether_addr . ipv4_addr; }',
  /** Mark of a peer → MAC of its bridge. */
  peer_bridges: 'map { type mark : ether_addr; }',
} as const;

export type NftSet = keyof typeof IP_SETS | keyof typeof BRIDGE_SETS;

export const NFT_SETS: readonly NftSet[] = [
  ...Object.keys(IP_SETS),
  ...Object.keys(BRIDGE_SETS),
] as NftSet[];

/** The family of the table that a set is in. */
export function familyOf(set: NftSet): NftFamily {
  return set in BRIDGE_SETS ? 'bridge' : 'ip';
}

export function kindOf(set: NftSet): 'set' | 'map' {
  const sets: Readonly<Record<string, string>> = { ...IP_SETS, ...BRIDGE_SETS };
  return sets[set]?.startsWith('map') === true ? 'map' : 'set';
}

/**
 * The statements that make both tables anew, still without elements, in one transaction.
 * @param underlayAddress own data path address; empty: the node has no overlay network
 */
export function formatTables(underlayAddress: string): string {
  return [
    formatTable('ip', [
      `counter ${PICKS_OF_UDP.name} { }`,
      ...formatSets(IP_SETS),
      ...natChains(underlayAddress),
      ...filterChains(),
      ...markChains(underlayAddress),
    ]),
    formatTable('bridge', [...formatSets(BRIDGE_SETS), ...bridgeChains()]),
  ].join('\n');
}

/** The statements that remove both, also where there are none. */
export function formatRemoval(): string {
  return (['ip', 'bridge'] as const).map(removal).join('\n');
}

function formatTable(family: NftFamily, content: readonly string[]): string {
  return [removal(family), `table ${family} ${NFT_TABLE} {`, ...content, '}'].join('\n');
}

/** Declaring a table first makes its deletion succeed where there is none. */
function removal(family: NftFamily): string {
  return `table ${family} ${NFT_TABLE}\ndelete table ${family} ${NFT_TABLE}`;
}

function formatSets(sets: Readonly<Record<string, string>>): string[] {
  return Object.entries(sets).map(([name, declaration]) => declaration.replace(' ', ` ${name} `));
}

/** What a balancer stands for: a virtual address, a port of every node, a port of one address. */
export type Frontend = 'vip' | 'port' | 'ipPort';

/** How a balancer is known in the table. */
const FRONTENDS: Readonly<Record<Frontend, { letter: string; key: string; map: NftSet }>> = {
  vip: { letter: 'n', key: 'ip daddr', map: 'vip_backends' },
  port: { letter: 'p', key: 'meta l4proto . th dport', map: 'port_backends' },
  ipPort: { letter: 'q', key: 'ip daddr . meta l4proto . th dport', map: 'ip_port_backends' },
};

/** A client's bucket is the same on every node. */
const AFFINITY_SEED = 0x4861746f;

/** Name of the chain that picks one of `count` places at random, or by the client's address. */
export function balanceChain(frontend: Frontend, count: number, isByClient = false): string {
  return `${isByClient ? 'c' : ''}${FRONTENDS[frontend].letter}${count}`;
}

/**
 * The statements that make such a chain. `numgen` and `jhash` cannot be part of a map's key, so the
 * place travels in the packet mark.
 */
export function formatBalanceChain(chain: string): string {
  const [, client, letter, count] = /^(c?)([npq])(\d+)$/.exec(chain) ?? [];
  const { key, map } = Object.values(FRONTENDS).find((f) => f.letter === letter) ?? FRONTENDS.vip;
  const choice =
    client === 'c'
      ? `jhash ip saddr mod ${count} seed ${hex(AFFINITY_SEED)}`
      : `numgen random mod ${count}`;
  const picks = [
    `${choice} offset ${hex(BACKEND_MARK_TAG)}`,
    // reached when a place was just taken away between the two statements: the first one is there
    hex(BACKEND_MARK_TAG),
  ];
  return [
    `add chain ip ${NFT_TABLE} ${chain}`,
    `flush chain ip ${NFT_TABLE} ${chain}`,
    `add rule ip ${NFT_TABLE} ${chain} meta l4proto udp counter name "${PICKS_OF_UDP.name}"`,
    ...picks.flatMap((pick) => [
      `add rule ip ${NFT_TABLE} ${chain} meta mark set ${pick}`,
      `add rule ip ${NFT_TABLE} ${chain} dnat to ${key} . meta mark map @${map}`,
    ]),
  ].join('\n');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
