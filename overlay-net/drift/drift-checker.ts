import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Mutex } from '../../common/mutex.js';
import type { Checkable, Repair } from '../core/drift.js';

const MIN_PAUSE_MS = 3_000;
/** Together with what a check takes, this is when a change is repaired at the latest. */
const MAX_PAUSE_MS = 8_000;
/** Pause by what the last check took: checks take a twentieth of the time at most. */
const PAUSES_PER_CHECK = 20;
const MAX_REPAIRS_LOGGED = 20;

export interface DriftCheckerModules {
  clock: Clock;
  logger: Logger;
  /** Held while something is repaired: nothing is applied meanwhile. */
  mutex: Mutex;
}

/**
 * Looks time and again whether the kernel still has what was applied, repairs what it has not, and
 * tells.
 * 1. A part that fails does not keep the others from being checked.
 * 2. Checks do not overlap.
 */
export class DriftChecker implements AsyncDisposable {
  readonly #parts: readonly Checkable[];
  readonly #modules: DriftCheckerModules;
  #cancelTimer: () => void = () => undefined;
  #running: Promise<void> | undefined;
  /** Asked for while one runs. */
  #next: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: readonly Checkable[], modules: DriftCheckerModules) {
    this.#parts = parts;
    this.#modules = modules;
  }

  start(): void {
    this.#schedule(MIN_PAUSE_MS);
  }

  /** Checks all from now on: one that is under way may have looked at some of it already. */
  check(): Promise<void> {
    if (this.#running === undefined) return this.#run();
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.#run();
    });
    return this.#next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer();
    await (this.#next ?? this.#running);
  }

  #run(): Promise<void> {
    this.#running ??= this.#checkAll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    const { clock } = this.#modules;
    this.#cancelTimer = clock.setTimer(delayMs, () => {
      const startedAtMs = clock.nowMs();
      void this.check().finally(() => {
        const tookMs = clock.nowMs() - startedAtMs;
        this.#schedule(Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, tookMs * PAUSES_PER_CHECK)));
      });
    });
  }

  async #checkAll(): Promise<void> {
    const { logger, mutex } = this.#modules;
    for (const part of this.#parts) {
      if (this.#isClosed) return;
      try {
        if (!(await part.isSuspect())) continue;
        this.#tell(part, await mutex.run(() => part.repair()));
      } catch (error) {
        logger.warn('Could not check or repair the networks', { part: part.part }, error);
      }
    }
  }

  #tell({ part }: Checkable, repairs: readonly Repair[]): void {
    const { logger } = this.#modules;
    for (const { change, what } of repairs.slice(0, MAX_REPAIRS_LOGGED)) {
      logger.warn('Repaired what others had changed', { part, change, what });
    }
    const more = repairs.length - MAX_REPAIRS_LOGGED;
    if (more > 0) logger.warn('Repaired more that others had changed', { part, count: more });
  }
}
