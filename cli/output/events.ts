import type { EngineEvent } from '../../proto/gen/hatoba/v1/engine.js';
import type { Event } from '../../proto/gen/hatoba/v1/types.js';
import { UsageError } from '../failure.js';
import {
  clusterEventHolds,
  clusterEventLine,
  clusterEventRow,
  dockerClusterEvent,
} from './cluster-events.js';
import { formatTemplate } from './format-template.js';

/** What happened to a container, image or volume of this node, or to an object of the cluster. */
export type Happened =
  | { readonly scope: 'node'; readonly event: EngineEvent }
  | { readonly scope: 'cluster'; readonly event: Event };

export interface EventFormat {
  output: string;
  format?: string;
}

export function timeMsOf(happened: Happened): number {
  return happened.scope === 'node' ? happened.event.timeMs : happened.event.lastAtMs;
}

/** How `hatoba system events` prints an event, on one line. */
export function eventFormat({ output, format }: EventFormat): (happened: Happened) => string {
  if (output === 'json' || format === 'json') return (h) => JSON.stringify(jsonRow(h));
  if (format === undefined) return line;
  const show = formatTemplate(format);
  return (h) => show(h.scope === 'node' ? dockerEvent(h.event) : dockerClusterEvent(h.event));
}

export const EVENT_FILTER_HELP =
  'only some: type (container, image, volume, service, task, node; normal, warning), event (what ' +
  'happened), container, image, volume, service, task, node (by name), label, or scope (node, ' +
  'cluster); repeatable';

/** What must hold, by key: of the values for one key any. */
export type EventFilters = ReadonlyMap<string, readonly string[]>;

/** @throws {UsageError} for an unknown key */
export function parseEventFilters(filters: readonly string[]): EventFilters {
  const wanted = new Map<string, string[]>();
  for (const filter of filters) {
    const [word = '', ...value] = filter.split('=');
    const key = word === 'kind' ? 'type' : word;
    if (value.length === 0 || !Object.hasOwn(SCOPES_OF_KEY, key)) {
      const keys = Object.keys(SCOPES_OF_KEY).join('=, ');
      throw new UsageError(`--filter takes ${keys}=, not "${filter}"`);
    }
    wanted.set(key, [...(wanted.get(key) ?? []), value.join('=')]);
  }
  return wanted;
}

const BOTH = ['node', 'cluster'] as const;
/** Docker's filters, and where there are such events. */
const SCOPES_OF_KEY: Readonly<Record<string, readonly Happened['scope'][]>> = {
  type: BOTH,
  event: BOTH,
  scope: BOTH,
  container: ['node'],
  image: ['node'],
  volume: ['node'],
  label: ['node'],
  service: ['cluster'],
  task: ['cluster'],
  node: ['cluster'],
};
const TYPES: Readonly<Record<Happened['scope'], readonly string[]>> = {
  node: ['container', 'image', 'volume', 'network'],
  cluster: ['service', 'task', 'node', 'normal', 'warning'],
};
const SCOPE_WORDS = { node: ['node', 'local'], cluster: ['cluster', 'swarm'] } as const;

export function isEventWanted(happened: Happened, filters: EventFilters): boolean {
  const holds = (key: string, value: string): boolean => {
    if (key === 'scope') return isScope(happened.scope, value);
    return happened.scope === 'node'
      ? engineEventHolds(happened.event, key, value)
      : clusterEventHolds(happened.event, key, value);
  };
  return [...filters].every(([key, values]) => values.some((value) => holds(key, value)));
}

/** Where events are to be asked for: not where the filters leave none. */
export function scopesOf(filters: EventFilters): Happened['scope'][] {
  const mayHave = (scope: Happened['scope'], key: string, value: string): boolean => {
    if (key === 'type') return TYPES[scope].includes(value);
    if (key === 'scope') return isScope(scope, value);
    return SCOPES_OF_KEY[key]?.includes(scope) === true;
  };
  return BOTH.filter((scope) =>
    [...filters].every(([key, values]) => values.some((value) => mayHave(scope, key, value))),
  );
}

function isScope(scope: Happened['scope'], word: string): boolean {
  return (SCOPE_WORDS[scope] as readonly string[]).includes(word);
}

function engineEventHolds(
  { type, action, id, attributes }: EngineEvent,
  key: string,
  value: string,
): boolean {
  switch (key) {
    case 'type':
      return type === value;
    case 'event':
      return action === value || action.startsWith(`${value}:`);
    case 'label': {
      const [name = '', ...rest] = value.split('=');
      return name in attributes && (rest.length === 0 || attributes[name] === rest.join('='));
    }
    case 'image':
      return (type === 'image' && id === value) || attributes['image'] === value;
    default:
      return type === key && (id.startsWith(value) || attributes['name'] === value);
  }
}

function jsonRow(happened: Happened): object {
  return happened.scope === 'node'
    ? engineEventRow(happened.event)
    : clusterEventRow(happened.event);
}

function engineEventRow(event: EngineEvent): object {
  return { ...event, timeMs: undefined, time: new Date(event.timeMs).toISOString() };
}

function dockerEvent(event: EngineEvent): object {
  const { type: Type, action: Action, id: ID, attributes: Attributes, timeMs } = event;
  const row = engineEventRow(event);
  return { ...row, Type, Action, ID, Actor: { ID, Attributes }, Time: Math.floor(timeMs / 1000) };
}

/** "2026-11-22T10:00:00.000Z container start 4f1… (image=web:1, name=web)", as docker events. */
function line(happened: Happened): string {
  if (happened.scope === 'cluster') return clusterEventLine(happened.event);
  const { event } = happened;
  const attributes = Object.entries(event.attributes).map(([k, v]) => `${k}=${v}`);
  const time = new Date(event.timeMs).toISOString();
  return `${time} ${event.type} ${event.action} ${event.id} (${attributes.join(', ')})`;
}
