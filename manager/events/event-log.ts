import type { Event } from '../../proto/gen/hatoba/v1/types.js';
import type { NewEvent } from '../core/events/new-event.js';

/** How long an event is kept after it last happened. */
export const EVENT_LIFE_MS = 3_600_000;
/** Events of one kind that are kept: a flood of one leaves the others in place. */
export const MAX_EVENTS_OF_KIND = 5000;

export type EventListener = (event: Event, key: string) => void;

/**
 * What happened of late, in memory. Equal events are one that is counted: those of the same object
 * and node that say the same; of tasks, the same place (a task that is replaced again and again is
 * one line for each thing that happens to it).
 * 1. None is older than an hour, and there are never more than 5,000 of a kind: the oldest go.
 * 2. Events of a kind are in order of when they last happened.
 */
export class EventLog {
  readonly #maxOfKind: number;
  readonly #kinds = new Map<string, KindLog>();
  readonly #listeners = new Set<EventListener>();

  constructor(options: { maxOfKind?: number } = {}) {
    this.#maxOfKind = options.maxOfKind ?? MAX_EVENTS_OF_KIND;
  }

  /** @param atMs when it happened, by this manager's clock */
  record({ atMs: _, ...event }: NewEvent, atMs: number): void {
    const key = keyOf(event);
    const { count = 0, firstAtMs = atMs } = this.#of(event.kind).get(key) ?? {};
    this.#put(key, { ...event, count: count + 1, firstAtMs, lastAtMs: atMs });
    this.forgetBefore(atMs - EVENT_LIFE_MS);
  }

  /** Takes one in as it was counted, in place of what is known of it. */
  restore(event: Event): void {
    this.#put(keyOf(event), event);
  }

  /** Whether it was counted already as having happened to this very object. */
  knows({ atMs: _, ...event }: NewEvent): boolean {
    return this.#of(event.kind).get(keyOf(event))?.objectId === event.objectId;
  }

  /** Drops what has not happened since. */
  forgetBefore(ms: number): void {
    for (const events of this.#kinds.values()) {
      while ((events.oldest()?.lastAtMs ?? ms) < ms) events.dropOldest();
    }
  }

  /** Those that happened since, the one that happened last at the end. */
  list(sinceMs = 0): Event[] {
    return [...this.#kinds.values()]
      .flatMap((events) => [...events.values()])
      .filter((e) => e.lastAtMs >= sinceMs)
      .sort((a, b) => a.lastAtMs - b.lastAtMs);
  }

  /** Hears of each new or repeated event. @returns a function that ends the subscription */
  onEvent(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #of(kind: string): KindLog {
    const present = this.#kinds.get(kind) ?? new KindLog();
    this.#kinds.set(kind, present);
    return present;
  }

  #put(key: string, event: Event): void {
    const events = this.#of(event.kind);
    events.put(key, event);
    if (events.size > this.#maxOfKind) events.dropOldest();
    for (const listener of [...this.#listeners]) listener(event, key);
  }
}

/** So many that count no more may be in a queue before it is cleared of them. */
const SLACK = 1000;

/**
 * Events of one kind by what makes them equal, the one that happened last at the end. A map alone
 * would take ever longer to find its first entry, the more were taken from its beginning.
 */
class KindLog {
  readonly #events = new Map<string, Event>();
  /** In order of happening; of equal ones the last counts. */
  #queue: { key: string; event: Event }[] = [];
  #first = 0;

  get size(): number {
    return this.#events.size;
  }

  get(key: string): Event | undefined {
    return this.#events.get(key);
  }

  put(key: string, event: Event): void {
    this.#events.set(key, event);
    this.#queue.push({ key, event });
    if (this.#queue.length > 2 * this.#events.size + SLACK) this.#clear();
  }

  oldest(): Event | undefined {
    for (; ; this.#first++) {
      const entry = this.#queue[this.#first];
      if (entry === undefined || this.#counts(entry)) return entry?.event;
    }
  }

  dropOldest(): void {
    if (this.oldest() === undefined) return;
    this.#events.delete(this.#queue[this.#first]?.key ?? '');
    this.#first++;
  }

  values(): Event[] {
    this.#clear();
    return this.#queue.map(({ event }) => event);
  }

  #clear(): void {
    this.#queue = this.#queue.slice(this.#first).filter((entry) => this.#counts(entry));
    this.#first = 0;
  }

  #counts({ key, event }: { key: string; event: Event }): boolean {
    return this.#events.get(key) === event;
  }
}

type Said = Omit<Event, 'count' | 'firstAtMs' | 'lastAtMs'>;

function keyOf({ kind, objectId, objectName, serviceId, nodeId, ...what }: Said): string {
  const object = kind === 'task' ? `${serviceId} ${objectName}` : objectId;
  return [kind, object, nodeId, what.type, what.reason, what.message].join('\0');
}
