import type { FdbInfo } from '../../linux/ports.js';
import type { KernelDump } from './kernel-model.js';
import { isAddress } from './ipam.js';
import { isBridgeName, isPeerMark, isVxlanName, RULE_PRIORITY } from './link-names.js';
import {
  addressEntry,
  bridgeFdbEntry,
  neighbourEntry,
  routeEntry,
  ruleEntry,
  vxlanFdbEntry,
  type Entry,
  type LinkPlan,
  type PlannedLink,
} from './link-plan.js';

/** MACs as mac.ts makes them; the kernel's own entries (multicast, a port's own MAC) are others. */
const OWN_MAC = /^(02:42|06:)/;

/** What of a dump belongs to this driver, in the shape of a plan. */
export function observeLinks(dump: KernelDump): LinkPlan {
  const names = new Map(dump.links.map((l) => [l.index, l.name]));
  const links = new Map<string, PlannedLink>();
  for (const link of dump.links) {
    const observed = observeLink(link, names);
    if (observed !== undefined) links.set(link.name, observed);
  }
  const ownName: OwnName = (index) => {
    const name = index === undefined ? undefined : names.get(index);
    return name !== undefined && links.has(name) ? name : undefined;
  };
  const entries = new Map<string, Entry>();
  observeAddresses(dump, ownName, entries);
  for (const entry of dump.fdb) observeFdb(entry, ownName(entry.link), entries);
  observeRouting(dump, ownName, entries);
  return { links, entries };
}

/** The name of a link of this driver, by its index. */
type OwnName = (index: number | undefined) => string | undefined;

function observeAddresses(dump: KernelDump, ownName: OwnName, entries: Map<string, Entry>): void {
  for (const { link, cidr } of dump.addresses) {
    const name = ownName(link);
    if (name === undefined || !isAddress(cidr.split('/')[0] ?? '')) continue;
    entries.set(...addressEntry(name, cidr));
  }
  for (const { link, address, mac } of dump.neighbours) {
    const name = ownName(link);
    if (name !== undefined) entries.set(...neighbourEntry(name, address, mac));
  }
}

function observeRouting(dump: KernelDump, ownName: OwnName, entries: Map<string, Entry>): void {
  for (const { link, table, destination, via } of dump.routes) {
    const name = ownName(link);
    if (name === undefined || !isPeerMark(table) || destination !== 'default') continue;
    entries.set(...routeEntry(name, table, via ?? ''));
  }
  for (const rule of dump.rules) {
    if (rule.priority !== RULE_PRIORITY || !isPeerMark(rule.table)) continue;
    if (rule.iif !== undefined) entries.set(...ruleEntry(rule.iif, rule.table));
  }
}

function observeLink(
  link: KernelDump['links'][number],
  names: ReadonlyMap<number, string>,
): PlannedLink | undefined {
  const vni = parseInt(link.name.slice(2), 16);
  const { name, mtuBytes } = link;
  // a link that is down is brought up like one whose MTU differs
  const common = { name, mtuBytes: link.up ? mtuBytes : 0, vni };
  if (isBridgeName(name) && link.kind === 'bridge') {
    return { kind: 'bridge', ...common, mac: link.mac };
  }
  if (isVxlanName(name) && link.kind === 'vxlan') {
    const master = link.master === undefined ? undefined : names.get(link.master);
    return { kind: 'vxlan', ...common, ...(master === undefined ? {} : { master }) };
  }
  return undefined;
}

function observeFdb(
  { mac, where, destination }: FdbInfo,
  name: string | undefined,
  entries: Map<string, Entry>,
): void {
  if (name === undefined || !isVxlanName(name) || !OWN_MAC.test(mac)) return;
  if (where === 'master') entries.set(...bridgeFdbEntry(name, mac));
  else entries.set(...vxlanFdbEntry(name, mac, destination ?? ''));
}
