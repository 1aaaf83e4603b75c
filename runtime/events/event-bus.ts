import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { EngineEvent } from '../engine.js';

/** What happened; the bus adds when. */
export type NewEvent = Omit<EngineEvent, 'timeMs'>;

/** Where the parts of the engine tell what they have done, after it is on disk. */
export interface EventSink {
  emit(event: NewEvent): void;
}

/** As many as Docker keeps for those who ask late. */
const KEPT_EVENTS = 1000;

/** Hands events to all who listen, in the order they come, and keeps the latest. */
export class EventBus implements EventSink {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  #recent: EngineEvent[] = [];

  constructor(modules: { clock: Clock; log: Logger }) {
    this.#clock = modules.clock;
    this.#log = modules.log;
  }

  emit(event: NewEvent): void {
    const timed: EngineEvent = { ...event, timeMs: this.#clock.nowMs() };
    this.#recent.push(timed);
    // in halves: a shift for every event would move a thousand
    if (this.#recent.length >= 2 * KEPT_EVENTS) this.#recent = this.#recent.slice(-KEPT_EVENTS);
    for (const listener of [...this.#listeners]) {
      try {
        listener(timed);
      } catch (error) {
        // one that fails must neither keep the others from hearing nor stop what is being done
        this.#log.error('Listener of events failed', { action: event.action }, error);
      }
    }
  }

  /** @returns a function that ends the subscription */
  onEvent(listener: (event: EngineEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** The latest 1,000, oldest first. */
  recent(): readonly EngineEvent[] {
    return this.#recent.slice(-KEPT_EVENTS);
  }
}
