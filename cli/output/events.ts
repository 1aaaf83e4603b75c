import type { EngineEvent } from '../../proto/gen/hatoba/v1/engine.js';
import { UsageError } from '../failure.js';
import { formatTemplate } from './format-template.js';

export interface EventFormat {
  output: string;
  format?: string;
}

/** How `hatoba system events` prints an event, on one line. */
export function eventFormat({ output, format }: EventFormat): (event: EngineEvent) => string {
  if (output === 'json' || format === 'json') return (event) => JSON.stringify(eventRow(event));
  if (format === undefined) return eventLine;
  const show = formatTemplate(format);
  return (event) => show(dockerEvent(event));
}

export const EVENT_FILTER_HELP =
  'only some: type, event (its action), container, image, volume or label; repeatable';

/**
 * Docker's filters: of the values for one key any must hold.
 * @throws {UsageError} for an unknown key
 */
export function eventFilter(filters: readonly string[]): (event: EngineEvent) => boolean {
  const wanted = new Map<string, string[]>();
  for (const filter of filters) {
    const [key = '', ...value] = filter.split('=');
    if (value.length === 0 || !(KEYS as readonly string[]).includes(key)) {
      throw new UsageError(`--filter takes ${KEYS.join('=, ')}=, not "${filter}"`);
    }
    wanted.set(key, [...(wanted.get(key) ?? []), value.join('=')]);
  }
  return (event) =>
    [...wanted].every(([key, values]) => values.some((value) => holds(event, key, value)));
}

const KEYS = ['type', 'event', 'container', 'image', 'volume', 'label'] as const;

function holds({ type, action, id, attributes }: EngineEvent, key: string, value: string): boolean {
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

function eventRow(event: EngineEvent): object {
  return { ...event, timeMs: undefined, time: new Date(event.timeMs).toISOString() };
}

function dockerEvent(event: EngineEvent): object {
  const { type: Type, action: Action, id: ID, attributes: Attributes, timeMs } = event;
  const row = eventRow(event);
  return { ...row, Type, Action, ID, Actor: { ID, Attributes }, Time: Math.floor(timeMs / 1000) };
}

/** "2026-11-22T10:00:00.000Z container start 4f1… (image=web:1, name=web)", as docker events. */
function eventLine(event: EngineEvent): string {
  const attributes = Object.entries(event.attributes).map(([k, v]) => `${k}=${v}`);
  const time = new Date(event.timeMs).toISOString();
  return `${time} ${event.type} ${event.action} ${event.id} (${attributes.join(', ')})`;
}
