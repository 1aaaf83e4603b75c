import type { Kernel } from '../../linux/ports.js';
import type { Cidr } from '../../overlay-net/core/ipam.js';
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
