import type { NetlinkOp } from '../../linux/ports.js';
import type { Entry, LinkPlan, PlannedLink, Underlay } from './link-plan.js';

export interface LinkChanges {
  /** What is new or different: to be done before traffic is directed there. */
  first: NetlinkOp[];
  /** What is gone: to be done after no traffic is directed there any more. */
  last: NetlinkOp[];
}

/**
 * The operations that turn `actual` into `wanted`. Applying them and planning again gives none.
 * @param options.recreateTunnels VXLAN devices are made anew, because their own address changed
 */
export function diffLinks(
  actual: LinkPlan,
  wanted: LinkPlan,
  underlay: Underlay,
  options: { recreateTunnels?: boolean } = {},
): LinkChanges {
  const first: NetlinkOp[] = [];
  const last: NetlinkOp[] = [];
  const gone = new Set<string>();
  for (const link of actual.links.values()) {
    const recreate = link.kind === 'vxlan' && options.recreateTunnels === true;
    if (wanted.links.has(link.name) && !recreate) continue;
    gone.add(link.name);
    (recreate ? first : last).push({ op: 'link-del', name: link.name });
  }
  for (const link of wanted.links.values()) {
    const before = gone.has(link.name) ? undefined : actual.links.get(link.name);
    first.push(...linkOps(before, link, underlay));
  }
  for (const [key, entry] of wanted.entries) {
    first.push(...entryOps(present(actual, key, gone), entry));
  }
  return { first, last: [...removedEntries(actual, wanted, gone), ...last] };
}

function removedEntries(
  actual: LinkPlan,
  wanted: LinkPlan,
  gone: ReadonlySet<string>,
): NetlinkOp[] {
  const ops: NetlinkOp[] = [];
  for (const key of actual.entries.keys()) {
    const before = present(actual, key, gone);
    if (before !== undefined && !wanted.entries.has(key)) ops.push(before.del);
  }
  return ops;
}

function entryOps(before: Entry | undefined, entry: Entry): NetlinkOp[] {
  if (before === undefined) return [entry.add];
  return before.value === entry.value ? [] : [before.del, entry.add];
}

/** An entry that the kernel has and that does not vanish with its link. */
function present(actual: LinkPlan, key: string, gone: ReadonlySet<string>): Entry | undefined {
  const entry = actual.entries.get(key);
  return entry === undefined || gone.has(entry.link) ? undefined : entry;
}

function linkOps(
  before: PlannedLink | undefined,
  link: PlannedLink,
  underlay: Underlay,
): NetlinkOp[] {
  if (before === undefined) return [...linkAddOps(link, underlay), ...linkUpOps(link)];
  const same =
    before.mtuBytes === link.mtuBytes && before.mac === link.mac && before.master === link.master;
  return same ? [] : linkUpOps(link);
}

function linkAddOps(link: PlannedLink, underlay: Underlay): NetlinkOp[] {
  const { name, vni, mtuBytes } = link;
  if (link.kind === 'bridge') {
    const mac = link.mac === undefined ? {} : { mac: link.mac };
    return [{ op: 'link-add', kind: 'bridge', name, mtuBytes, ...mac }];
  }
  const { address: localAddress, port } = underlay;
  return [{ op: 'link-add', kind: 'vxlan', name, vni, localAddress, port, mtuBytes }];
}

/** Everything about a link that can be set again. */
function linkUpOps(link: PlannedLink): NetlinkOp[] {
  const { name, mtuBytes } = link;
  const mac = link.mac === undefined ? {} : { mac: link.mac };
  const master = link.master === undefined ? {} : { master: link.master };
  const ops: NetlinkOp[] = [{ op: 'link-set', name, mtuBytes, ...mac, ...master, up: true }];
  if (link.kind === 'vxlan') ops.push(tunnelPortOp(name));
  return ops;
}

/** A VXLAN port learns nothing, floods nothing, and its bridge answers ARP for what is behind it. */
export function tunnelPortOp(name: string): NetlinkOp {
  return {
    op: 'bridge-port',
    name,
    learning: false,
    flood: false,
    mcastFlood: false,
    bcastFlood: false,
    neighSuppress: true,
  };
}
