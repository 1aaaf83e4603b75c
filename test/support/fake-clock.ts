import type { Clock } from '../../common/clock.js';

interface Timer {
  atMs: number;
  order: number;
  run: () => void;
}

/**
 * Time that moves only by `advance`.
 * 1. Timers fire in order of time, those of the same time in order of creation.
 * 2. While a timer runs, nowMs() is exactly its time; unless the process was held up.
 * 3. Between two timers pending promises are settled, so that what one timer starts can set the next.
 */
export class FakeClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  /** How many timers wait; for leak checks. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** Somebody sets the time; timers fire when they would have. */
  setBack(ms: number): void {
    this.#nowMs -= ms;
    for (const timer of this.#timers) timer.atMs -= ms;
  }

  /** The process does not run for a while; what was due meanwhile fires late, with the next advance. */
  holdUp(ms: number): void {
    this.#nowMs += ms;
  }

  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = [...this.#timers]
        .filter((t) => t.atMs <= end)
        .sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
      await settle();
    }
    this.#nowMs = end;
  }
}

/** Lets everything that is ready to run do so. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
