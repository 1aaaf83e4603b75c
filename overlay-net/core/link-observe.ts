import type { FdbInfo } from '../../linux/ports.js';
import type { KernelDump } from './kernel-model.js';
import { addressOf, isAddress } from './ipam.js';
import {
  addressEntry,
  bridgeFdbEntry,
  neighbourEntry,
  putEntry as put,
  routeEntry,
  vxlanFdbEntry,
  type Entry,
  type Keyed,
} from './link-entries.js';
import { isBridgeName, isNetworkLink, isSandboxLink, isVxlanName } from './link-names.js';
import type { LinkPlan, PlannedLink } from './link-plan.js';

type Link = KernelDump['links'][number];

/** What of a dump belongs to this driver, in the shape of a plan. */
export function observeLinks(dump: KernelDump): LinkPlan {
  const byIndex = new Map(dump.links.map((l) => [l.index, l]));
  const links = new Map<string, PlannedLink>();
  for (const link of dump.links) {
    const observed = observeLink(link, byIndex);
    if (observed !== undefined) links.set(link.name, observed);
  }
  const own: OwnLink = (index) => {
    const link = index === undefined ? undefined : byIndex.get(index);
    return link !== undefined && links.has(link.name) ? link : undefined;
  };
  const entries = new Map<string, Entry>();
  observeEntries(dump, own, entries);
  for (const entry of dump.fdb) {
    const link = byIndex.get(entry.link);
    const keyed = link === undefined ? undefined : observeFdb(entry, link);
    if (keyed !== undefined) put(entries, keyed);
  }
  return { links, entries };
}

/** A link of a network of this driver, by its index. */
type OwnLink = (index: number | undefined) => Link | undefined;

function observeEntries(dump: KernelDump, own: OwnLink, entries: Map<string, Entry>): void {
  for (const { link, cidr } of dump.addresses) {
    const name = own(link)?.name;
    if (name === undefined || !isAddress(addressOf(cidr))) continue;
    put(entries, addressEntry(name, cidr));
  }
  for (const { link, address, mac } of dump.neighbours) {
    const name = own(link)?.name;
    if (name !== undefined) put(entries, neighbourEntry(name, address, mac));
  }
  for (const { link, ...route } of dump.routes) {
    const name = own(link)?.name;
    if (name !== undefined) put(entries, routeEntry({ ...route, link: name }));
  }
}

function observeLink(link: Link, byIndex: ReadonlyMap<number, Link>): PlannedLink | undefined {
  const { name, mac } = link;
  // a link that is down is brought up like one whose MTU differs
  const mtuBytes = link.up ? link.mtuBytes : 0;
  if (isBridgeName(name) && link.kind === 'bridge') return { kind: 'bridge', name, mtuBytes, mac };
  if (!isVxlanName(name) || link.kind !== 'vxlan') return undefined;
  const master = link.master === undefined ? undefined : byIndex.get(link.master)?.name;
  return {
    kind: 'vxlan',
    name,
    mtuBytes,
    ...(link.vxlan === undefined ? {} : { tunnel: link.vxlan }),
    ...(master === undefined ? {} : { master }),
    ...(link.port === undefined ? {} : { port: link.port }),
  };
}

/** Forwarding entries on links of networks and sandboxes, but those that the kernel makes itself. */
function observeFdb(entry: FdbInfo, link: Link): Keyed | undefined {
  const { name } = link;
  const { mac, where, destination, isLocal = false } = entry;
  if (!isNetworkLink(name) && !isSandboxLink(name)) return undefined;
  if (where === 'self') return isVxlanName(name) ? observeTunnelEntry(entry, name) : undefined;
  if (isLocal && mac === link.mac) return undefined;
  const [key, found] = bridgeFdbEntry(name, mac);
  const value = isLocal ? 'local' : (destination ?? '');
  if (!isBridgeName(name)) return [key, { ...found, value }];
  // the bridge's own entries are addressed as those of a device
  return [key, { ...found, value, del: { op: 'fdb-del', link: name, mac, where: 'self' } }];
}

function observeTunnelEntry({ mac, destination = '', port, vni }: FdbInfo, name: string): Keyed {
  const [key, found] = vxlanFdbEntry(name, mac, destination);
  const more = [port, vni].filter((v) => v !== undefined);
  return [key, { ...found, value: [found.value, ...more].join(' ') }];
}
