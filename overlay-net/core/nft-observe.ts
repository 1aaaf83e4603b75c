import type { Repair } from './drift.js';
import type { NftElements } from './nft-model.js';
import { familyOf, NFT_TABLE, type NftSet } from './nft-ruleset.js';

/**
 * Everything of a listing (nft's JSON) but elements, in its order: sets, chains, rules. Numbers that
 * count traffic, and those by which the kernel tells equal rules apart, are left out.
 */
export function skeletonOf(objects: readonly unknown[]): string[] {
  return objects
    .filter((object) => isObject(object) && !('metainfo' in object))
    .map((object) =>
      JSON.stringify(object, (key, value: unknown) => (VARYING.has(key) ? undefined : value)),
    );
}

const VARYING: ReadonlySet<string> = new Set(['handle', 'packets', 'bytes', 'elem']);

/** What two skeletons have not in common, for people. */
export function compareSkeletons(actual: readonly string[], wanted: readonly string[]): Repair[] {
  const [there, should] = [new Set(actual), new Set(wanted)];
  const missing = wanted.filter((o) => !there.has(o));
  const strange = actual.filter((o) => !should.has(o));
  const repairs: Repair[] = [
    ...missing.map((o) => ({ change: 'added', what: describe(o) }) as const),
    ...strange.map((o) => ({ change: 'removed', what: describe(o) }) as const),
  ];
  const isSame = repairs.length === 0 && actual.join('\n') === wanted.join('\n');
  if (isSame || repairs.length > 0) return repairs;
  return [{ change: 'changed', what: `order or number of the rules of table ${NFT_TABLE}` }];
}

/** {"rule": {"family": "ip", "chain": "input", …}} → "rule of chain input, table ip hatoba" */
function describe(object: string): string {
  const [[kind, parts] = ['', {}]] = Object.entries(JSON.parse(object) as Record<string, unknown>);
  const { family, name, chain } = parts as Record<string, unknown>;
  const words = typeof chain === 'string' ? `${kind} of chain ${chain}` : kind;
  const named = typeof name === 'string' && kind !== 'table' ? ` ${name}` : '';
  return `${words}${named}, table ${String(family)} ${NFT_TABLE}`;
}

/** The elements in the listing of one set or map: key → data, in the notation of canonicalOf(). */
export function elementsOf(objects: readonly unknown[]): Map<string, string> {
  const elements = new Map<string, string>();
  for (const object of objects) {
    if (!isObject(object)) continue;
    const { set, map } = object;
    for (const element of listOf(set)) elements.set(format(element), '');
    for (const pair of listOf(map)) {
      const [key, data] = Array.isArray(pair) ? (pair as unknown[]) : [];
      elements.set(format(key), format(data));
    }
  }
  return elements;
}

function listOf(set: unknown): readonly unknown[] {
  return isObject(set) && Array.isArray(set['elem']) ? (set['elem'] as unknown[]) : [];
}

/** nft's JSON of a value: "10.0.0.1", 80, {"concat": […]}, {"goto": {"target": "n2"}} … */
function format(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (!isObject(value)) return '';
  const { concat, prefix, goto, elem } = value;
  if (Array.isArray(concat)) return concat.map(format).join(' . ');
  if (isObject(prefix)) return `${format(prefix['addr'])}/${format(prefix['len'])}`;
  if (isObject(goto)) return `goto ${format(goto['target'])}`;
  if (isObject(elem)) return format(elem['val']);
  return JSON.stringify(value);
}

/** A key or datum of a plan as a listing has it: numbers are decimal, names have no quotes. */
export function canonicalOf(text: string): string {
  return text
    .split(' . ')
    .map((part) => (/^0x[0-9a-f]+$/.test(part) ? String(Number(part)) : part.replaceAll('"', '')))
    .join(' . ');
}

/** What makes a set hold what it should. */
export interface ElementChanges {
  repairs: Repair[];
  /** Statements; empty when nothing differs. */
  script: string;
}

/** @param actual as elementsOf() tells; @param wanted as planned */
export function repairElements(
  set: NftSet,
  actual: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): ElementChanges {
  const should = new Map([...wanted].map(([key, data]) => [canonicalOf(key), { key, data }]));
  const place = `${familyOf(set)} ${NFT_TABLE} ${set}`;
  const changes: ElementChanges = { repairs: [], script: '' };
  const run = (verb: 'add' | 'delete', element: string): void => {
    changes.script += `${verb} element ${place} { ${element} }\n`;
  };
  for (const [key, data] of actual) {
    const planned = should.get(key);
    if (planned !== undefined && canonicalOf(planned.data) === data) continue;
    run('delete', quoteNames(key));
    const change = planned === undefined ? 'removed' : 'changed';
    changes.repairs.push({ change, what: `element ${key} of ${place}` });
  }
  for (const [canonical, { key, data }] of should) {
    const there = actual.get(canonical);
    if (there === canonicalOf(data)) continue;
    run('add', data === '' ? key : `${key} : ${data}`);
    if (there !== undefined) continue;
    changes.repairs.push({ change: 'added', what: `element ${canonical} of ${place}` });
  }
  return changes;
}

/** Names of links are quoted in scripts; nothing else in keys begins with a letter but protocols. */
function quoteNames(key: string): string {
  const isPlain = (part: string): boolean => /^(\d|[0-9a-f]{2}:|tcp$|udp$|sctp$)/.test(part);
  return key
    .split(' . ')
    .map((part) => (isPlain(part) ? part : `"${part}"`))
    .join(' . ');
}

export function plannedElements(elements: NftElements, set: string): ReadonlyMap<string, string> {
  return elements.get(set as NftSet) ?? new Map<string, string>();
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
