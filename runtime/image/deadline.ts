import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';

/**
 * Aborts what takes its signal when nothing happened for a while, or when the caller's own signal
 * aborts. End it with dispose().
 */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #what: string;
  readonly #outer: AbortSignal;
  #cancelTimer: () => void = () => undefined;

  /** @param what names in the error what did not happen: "an answer of registry-1.docker.io" */
  constructor(clock: Clock, idleMs: number, what: string, outer: AbortSignal) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#what = what;
    this.#outer = outer;
    outer.throwIfAborted();
    outer.addEventListener('abort', this.#onOuterAbort, { once: true });
    this.touch();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something happened: the time begins anew. */
  touch(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.setTimer(this.#idleMs, () => {
      const seconds = Math.round(this.#idleMs / 1000);
      this.#controller.abort(
        new HatobaError('deadline', `${this.#what} did not come within ${seconds} s`),
      );
    });
  }

  /** What is waited for now is not the other side: no time is counted until touch(). */
  pause(): void {
    this.#cancelTimer();
  }

  dispose(): void {
    this.#cancelTimer();
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
  }

  readonly #onOuterAbort = (): void => {
    this.#controller.abort(this.#outer.reason);
  };
}
