import type { Repair } from './drift.js';
import type { LinkPlan, PlannedLink } from './link-plan.js';

/** What makes `actual` differ from `wanted`, entry by entry; none where diffLinks() has no ops. */
export function compareLinks(actual: LinkPlan, wanted: LinkPlan): Repair[] {
  const repairs: Repair[] = [];
  for (const [name, link] of wanted.links) {
    const there = actual.links.get(name);
    const what = `link ${name}`;
    if (there === undefined) repairs.push({ change: 'added', what });
    else repairs.push(...compareLink(there, link, what));
  }
  for (const name of actual.links.keys()) {
    if (!wanted.links.has(name)) repairs.push({ change: 'removed', what: `link ${name}` });
  }
  for (const [what, { value }] of wanted.entries) {
    const there = actual.entries.get(what);
    if (there === undefined) repairs.push({ change: 'added', what });
    else if (there.value !== value) repairs.push({ change: 'changed', what });
  }
  for (const what of actual.entries.keys()) {
    if (!wanted.entries.has(what)) repairs.push({ change: 'removed', what });
  }
  return repairs;
}

function compareLink(actual: PlannedLink, wanted: PlannedLink, what: string): Repair[] {
  const there = new Map(flatten(actual));
  return flatten(wanted)
    .filter(([key, value]) => there.get(key) !== value)
    .map(([key, value]) => ({ change: 'changed', what: `${what} ${key} ${String(value)}` }));
}

/** {port: {learning: false}} → ["port.learning", false] */
function flatten(of: object, prefix = ''): (readonly [string, unknown])[] {
  return Object.entries(of).flatMap(([key, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null
      ? flatten(value, `${prefix}${key}.`)
      : [[`${prefix}${key}`, value] as const],
  );
}
