import { backoffMs } from './backoff.js';
import type { Clock } from './clock.js';
import type { Random } from './random.js';

export interface WorkQueueOptions {
  /** First delay of `addRateLimited`, doubling with each failure of the key. */
  baseDelayMs?: number;
  maxDelayMs?: number;
}

export interface WorkQueueMetrics {
  /** Keys that wait to be taken now. */
  depth: number;
  /** Keys that wait for their time. */
  delayed: number;
  adds: number;
  retries: number;
  taken: number;
  /** Sum over all taken keys of the time between due and taken. */
  waitMs: number;
}

/**
 * A queue of keys for level-triggered loops, after client-go's.
 * 1. A key is in the queue at most once, however often it is added.
 * 2. A key is worked on by at most one taker; added meanwhile, it comes again after `done`.
 * 3. Keys come in the order in which they became due.
 * 4. Of several delays of a key the earliest counts.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #baseMs: number;
  readonly #maxMs: number;
  /** Keys to be worked on, with the time they became due; those not in work are in #order too. */
  readonly #dirty = new Map<string, number>();
  readonly #order = new Set<string>();
  readonly #inWork = new Set<string>();
  readonly #delayed = new Map<string, { atMs: number; cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  readonly #counts = { adds: 0, retries: 0, taken: 0, waitMs: 0 };
  #closed = false;

  constructor(modules: { clock: Clock; random: Random }, options: WorkQueueOptions = {}) {
    this.#clock = modules.clock;
    this.#random = modules.random;
    this.#baseMs = options.baseDelayMs ?? 10;
    this.#maxMs = options.maxDelayMs ?? 30_000;
  }

  /** To be worked on as soon as possible. A no-op after `close`. */
  add(key: string): void {
    if (this.#closed || this.#dirty.has(key)) return;
    this.#counts.adds++;
    this.#dirty.set(key, this.#clock.nowMs());
    if (this.#inWork.has(key)) return; // `done` will queue it
    this.#order.add(key);
    this.#serve();
  }

  /** To be worked on once `delayMs` is over, or earlier if asked for before that. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const atMs = this.#clock.nowMs() + delayMs;
    const present = this.#delayed.get(key);
    if (present !== undefined && present.atMs <= atMs) return;
    present?.cancel();
    const cancel = this.#clock.setTimer(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { atMs, cancel });
  }

  /** As addAfter, with a delay that grows with each call until `forget`. */
  addRateLimited(key: string): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    this.#counts.retries++;
    const delayMs = backoffMs(failures, { baseMs: this.#baseMs, maxMs: this.#maxMs }, this.#random);
    this.addAfter(key, delayMs);
  }

  /** Starts the delays of a key anew: it was worked on with success. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, which the taker must give back by `done`; undefined once the queue is closed. */
  take(): Promise<string | undefined> {
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#serve();
    });
  }

  /** Ends the work on a key; if it was added meanwhile, it is queued again. */
  done(key: string): void {
    this.#inWork.delete(key);
    if (this.#closed || !this.#dirty.has(key)) return;
    this.#order.add(key);
    this.#serve();
  }

  /** Drops all that waits and lets every taker go; work under way ends by `done` as usual. */
  close(): void {
    this.#closed = true;
    for (const { cancel } of this.#delayed.values()) cancel();
    this.#delayed.clear();
    this.#dirty.clear();
    this.#order.clear();
    this.#failures.clear();
    this.#serve();
  }

  metrics(): WorkQueueMetrics {
    return { depth: this.#order.size, delayed: this.#delayed.size, ...this.#counts };
  }

  #serve(): void {
    while (this.#takers.length > 0) {
      const key = this.#next();
      if (key === undefined && !this.#closed) return;
      this.#takers.shift()?.(key);
    }
  }

  #next(): string | undefined {
    for (const key of this.#order) {
      const dueMs = this.#dirty.get(key) ?? this.#clock.nowMs();
      this.#counts.waitMs += this.#clock.nowMs() - dueMs;
      this.#counts.taken++;
      this.#order.delete(key);
      this.#dirty.delete(key);
      this.#inWork.add(key);
      return key;
    }
    return undefined;
  }
}
