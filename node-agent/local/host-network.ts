import type { Kernel } from '../../linux/ports.js';
import { formatCidr, parseCidr, subnetOverlaps, type Cidr } from '../../overlay-net/core/ipam.js';
import { isNetworkLink } from '../../overlay-net/core/link-names.js';
import { routedSubnets } from './bridge-subnet.js';

/** What the bridge of this node must fit to. */
export interface HostNetwork {
  /** Subnets that this machine has or has routes to, but for those of Hatoba's own links. */
  readonly subnets: readonly Cidr[];
  /** MTU in bytes of the way out; 0 = unknown. */
  readonly mtuBytes: number;
}

export async function lookAtHost(
  netlink: Pick<Kernel['netlink'], 'links' | 'routes' | 'addresses'>,
): Promise<HostNetwork> {
  const [links, routes, addresses] = await Promise.all([
    netlink.links(),
    netlink.routes(),
    netlink.addresses(),
  ]);
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const isForeign = ({ link }: { link?: number }): boolean =>
    link === undefined || !isNetworkLink(byIndex.get(link)?.name ?? '');
  const others = [
    ...routes.filter(isForeign).map((route) => route.destination),
    ...addresses.filter(isForeign).map((address) => address.cidr),
  ];
  const out = routes.find(({ destination }) => destination === 'default')?.link;
  const mtuBytes = out === undefined ? 0 : (byIndex.get(out)?.mtuBytes ?? 0);
  return { subnets: routedSubnets(others), mtuBytes };
}

/** Where every host has something of its own: no network of the cluster is there in any case. */
const OF_EVERY_HOST = ['127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(parseCidr);
/** Routes to more than this lead to the rest of the world, like the halves that VPNs set. */
const SHORTEST_PREFIX = 8;

/**
 * What networks of the cluster must keep clear of, for the managers: "192.168.4.0/22", sorted, none
 * within another.
 */
export function hostSubnetsOf({ subnets }: Pick<HostNetwork, 'subnets'>): string[] {
  const own = subnets.filter(
    (s) =>
      s.prefixLength >= SHORTEST_PREFIX && !OF_EVERY_HOST.some((every) => subnetOverlaps(every, s)),
  );
  const isWithin = (a: Cidr, b: Cidr): boolean =>
    a.prefixLength > b.prefixLength && subnetOverlaps(a, b);
  const largest = own.filter((s) => !own.some((other) => isWithin(s, other)));
  return [...new Set(largest.map(formatCidr))].sort();
}
