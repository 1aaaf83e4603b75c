import type { NetlinkOp } from '../../linux/ports.js';
import type { Entry } from './link-entries.js';
import type { LinkPlan, PlannedLink } from './link-plan.js';

export interface LinkChanges {
  /** What is new or different: to be done before traffic is directed there. */
  first: NetlinkOp[];
  /** What is gone: to be done after no traffic is directed there any more. */
  last: NetlinkOp[];
}

/** The operations that turn `actual` into `wanted`. Applying them and planning again gives none. */
export function diffLinks(actual: LinkPlan, wanted: LinkPlan): LinkChanges {
  const first: NetlinkOp[] = [];
  const last: NetlinkOp[] = [];
  const gone = new Set<string>();
  for (const link of actual.links.values()) {
    const successor = wanted.links.get(link.name);
    if (successor !== undefined && canBecome(link, successor)) continue;
    gone.add(link.name);
    (successor === undefined ? last : first).push({ op: 'link-del', name: link.name });
  }
  for (const link of wanted.links.values()) {
    const before = gone.has(link.name) ? undefined : actual.links.get(link.name);
    first.push(...linkOps(before, link));
  }
  for (const [key, entry] of wanted.entries) {
    const before = present(actual, key, gone);
    if (before?.value === entry.value || comesByItself(actual, entry, gone)) continue;
    first.push(entry.add);
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

/** An entry that the kernel has and that does not vanish with its link. */
function present(actual: LinkPlan, key: string, gone: ReadonlySet<string>): Entry | undefined {
  const entry = actual.entries.get(key);
  return entry === undefined || gone.has(entry.link) ? undefined : entry;
}

/** Whether an entry will be there with another one that is about to be added. */
function comesByItself(actual: LinkPlan, entry: Entry, gone: ReadonlySet<string>): boolean {
  return entry.follows !== undefined && present(actual, entry.follows, gone) === undefined;
}

/** What the two ends of a tunnel are is settled when it is made. */
function canBecome(link: PlannedLink, wanted: PlannedLink): boolean {
  return link.kind === wanted.kind && isCovered(wanted.tunnel ?? {}, link.tunnel ?? {});
}

function linkOps(before: PlannedLink | undefined, link: PlannedLink): NetlinkOp[] {
  if (before === undefined) return [linkAddOp(link), ...linkSetOps(link), ...portOps(link)];
  const isSame =
    before.mtuBytes === link.mtuBytes && before.mac === link.mac && before.master === link.master;
  const isSamePort = before.master === link.master && isCovered(link.port ?? {}, before.port ?? {});
  return [...(isSame ? [] : linkSetOps(link)), ...(isSamePort ? [] : portOps(link))];
}

function linkAddOp({ name, mtuBytes, mac, tunnel }: PlannedLink): NetlinkOp {
  if (tunnel === undefined) {
    return {
      op: 'link-add',
      kind: 'bridge',
      name,
      mtuBytes,
      ...(mac === undefined ? {} : { mac }),
    };
  }
  const { vni, localAddress, port } = tunnel;
  return { op: 'link-add', kind: 'vxlan', name, vni, localAddress, port, mtuBytes };
}

/** Everything about a link that can be set again. */
function linkSetOps({ name, mtuBytes, mac, master }: PlannedLink): NetlinkOp[] {
  const more = {
    ...(mac === undefined ? {} : { mac }),
    ...(master === undefined ? {} : { master }),
  };
  return [{ op: 'link-set', name, mtuBytes, ...more, up: true }];
}

function portOps({ name, port }: PlannedLink): NetlinkOp[] {
  return port === undefined ? [] : [{ op: 'bridge-port', name, ...port }];
}

/** Whether all that `wanted` says is so in `actual` too. */
function isCovered(wanted: object, actual: object): boolean {
  const there = new Map<string, unknown>(Object.entries(actual));
  return Object.entries(wanted).every(([key, value]) => there.get(key) === value);
}
