import { sleep, type Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Task } from '../../common/model/objects.js';
import type { Outcome } from '../core/task-machine.js';
import type { Executor } from '../executor/executor.js';

const LOOK_EVERY_MS = 150;
/** Each new number is a write in the managers' store. */
const TELL_EVERY_MS = 2000;

export interface DrainModules {
  readonly executor: Pick<Executor, 'watch' | 'openConnections'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Waits until nobody has a connection open to a task any more, for a limited time from its making.
 * What it finds is told in steps, as the outcome of each call.
 */
export class Drain {
  readonly #modules: DrainModules;
  #sinceMs: number;
  #told: { readonly connections: number; readonly atMs: number } | undefined;
  #isBlind = false;

  constructor(modules: DrainModules) {
    this.#modules = modules;
    this.#sinceMs = modules.clock.nowMs();
  }

  /**
   * `done`: none is left, or the time is over. `open`: so many are, which is news; call again.
   * `observed`: the container has ended by itself.
   * @param limitMs counted from the making of this object
   * @throws the signal's reason when it aborts
   */
  async next(task: Task, limitMs: number, signal: AbortSignal): Promise<Outcome> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const exit = this.#modules.executor.watch(task, 'exited', either);
    const count = this.#count(task, limitMs, either);
    try {
      const exited = exit.then((container): Outcome => ({ type: 'observed', container }));
      return await Promise.race([exited, count]);
    } finally {
      over.abort();
      // calls for a task do not overlap: the one that lost has to unwind first
      await Promise.allSettled([exit, count]);
    }
  }

  async #count(task: Task, limitMs: number, signal: AbortSignal): Promise<Outcome> {
    const { clock } = this.#modules;
    for (let isFirst = this.#told === undefined; ; isFirst = false) {
      const leftMs = Math.max(0, this.#leftOf(limitMs));
      if (!isFirst) await sleep(clock, Math.min(LOOK_EVERY_MS, leftMs), signal);
      const connections = await this.#look(task);
      signal.throwIfAborted();
      if (connections === 0 || this.#leftOf(limitMs) <= 0) return { type: 'done' };
      if (connections !== undefined && this.#isNews(connections)) {
        this.#told = { connections, atMs: clock.nowMs() };
        return { type: 'open', connections };
      }
    }
  }

  /** A clock that is set back must not give hours; it gives the time once more at most. */
  #leftOf(limitMs: number): number {
    const nowMs = this.#modules.clock.nowMs();
    this.#sinceMs = Math.min(this.#sinceMs, nowMs);
    return this.#sinceMs + limitMs - nowMs;
  }

  /** @returns undefined when it cannot be known: then the whole time is given */
  async #look(task: Task): Promise<number | undefined> {
    try {
      return await this.#modules.executor.openConnections(task);
    } catch (error) {
      const fields = { taskId: task.id };
      if (!this.#isBlind) this.#modules.log.warn('Could not count open connections', fields, error);
      this.#isBlind = true;
      return undefined;
    }
  }

  #isNews(connections: number): boolean {
    if (this.#told === undefined) return true;
    const isLate = this.#modules.clock.nowMs() - this.#told.atMs >= TELL_EVERY_MS;
    return isLate && connections !== this.#told.connections;
  }
}
