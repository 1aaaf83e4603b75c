import type { Clock } from '../../../common/clock.js';
import type { Timeline } from './timeline.js';

/**
 * One operating system process: its timers, and the door by which everything from outside comes in.
 * Killed, it never runs again, as all it waits for comes by that door. Paused, everything waits at the
 * door while the time goes on.
 */
export class SimProcess implements Clock {
  readonly name: string;
  readonly #timeline: Timeline;
  readonly #skewMs: number;
  readonly #waiting: (() => void)[] = [];
  #isAlive = true;
  #isPaused = false;

  /** @param options.skewMs how far its clock is ahead */
  constructor(timeline: Timeline, options: { name: string; skewMs?: number }) {
    this.#timeline = timeline;
    this.name = options.name;
    this.#skewMs = options.skewMs ?? 0;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  nowMs(): number {
    return Math.floor(this.#timeline.nowMs()) + this.#skewMs;
  }

  setTimer(delayMs: number, run: () => void): () => void {
    let isWanted = true;
    const cancel = this.#timeline.after(delayMs, () => {
      this.enter(() => {
        if (isWanted) run();
      });
    });
    return () => {
      isWanted = false;
      cancel();
    };
  }

  /** Something reaches the process. */
  enter(run: () => void): void {
    if (!this.#isAlive) return;
    if (this.#isPaused) this.#waiting.push(run);
    else run();
  }

  kill(): void {
    this.#isAlive = false;
    this.#waiting.length = 0;
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** What came meanwhile comes in now, in its order. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    for (const run of this.#waiting.splice(0)) this.#timeline.after(0, () => this.enter(run));
  }
}
