import { backoffMs } from '../../common/backoff.js';
import { Alarm } from '../../common/alarm.js';
import { sleep, type Clock } from '../../common/clock.js';
import { isKind, isRetryable, type ErrorKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { TaskStatus } from '../../common/model/objects.js';
import { rankOf } from '../../common/model/task-state.js';
import type { Random } from '../../common/random.js';
import type { TaskStatusUpdate } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';

export interface StatusReporterModules {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How long a status waits for others to go with it, unless others wait for it. */
const BATCH_WINDOW_MS = 20;
const MAX_BATCH = 1000;
/** Answers about a status itself, not about the session or the connection. */
const REFUSALS: readonly ErrorKind[] = ['invalid-argument', 'permission-denied', 'not-found'];
const RETRY = { baseMs: 100, maxMs: 2000 } as const;

/**
 * Brings statuses to the managers in batches: of each task the newest one, until it is accepted.
 * That a task has come up, or ended by itself, goes at once, as load balancers wait for it.
 * 1. Statuses of one task arrive in the order they were reported; older ones may be left out.
 * 2. Without a session nothing is kept: run() begins with all statuses there are.
 */
export class StatusReporter {
  readonly #modules: StatusReporterModules;
  /** Of the present run: a batch that a former one lost must not come back into this one. */
  #pending = new Map<string, TaskStatus>();
  /** How many statuses are to go alone, as one of them spoilt a batch for the others. */
  #oneByOne = 0;
  #wake: () => void = () => undefined;
  readonly #alarm: Alarm;

  constructor(modules: StatusReporterModules) {
    this.#modules = modules;
    this.#alarm = new Alarm(modules.clock);
  }

  report(taskId: string, status: TaskStatus): void {
    this.#pending.set(taskId, status);
    if (isNews(status)) this.#alarm.ring();
    this.#wake();
  }

  /**
   * Reports `all` first, then what comes, until the signal aborts.
   * @throws the error of a call that ends the session; the signal's reason
   */
  async run(
    all: ReadonlyMap<string, TaskStatus>,
    send: (updates: TaskStatusUpdate[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<never> {
    const pending = new Map(all);
    this.#pending = pending;
    let attempt = 0;
    for (;;) {
      if (pending.size === 0) await this.#somethingPending(signal);
      if (attempt === 0) await this.#alarm.sleep(BATCH_WINDOW_MS, signal);
      this.#alarm.clear();
      attempt = await this.#flush(pending, send, attempt);
      if (attempt > 0) await this.#backOff(attempt, signal);
    }
  }

  /** @returns 0 when the batch is settled, else the number of failures in a row */
  async #flush(
    pending: Map<string, TaskStatus>,
    send: (updates: TaskStatusUpdate[]) => Promise<void>,
    attempt: number,
  ): Promise<number> {
    const batch = [...pending].slice(0, this.#oneByOne > 0 ? 1 : MAX_BATCH);
    for (const [taskId] of batch) pending.delete(taskId);
    this.#oneByOne = Math.max(0, this.#oneByOne - 1);
    try {
      await send(batch.map(([taskId, status]) => ({ taskId, status })));
      return 0;
    } catch (error) {
      const { log } = this.#modules;
      if (isKind(error, ...REFUSALS) && batch.length === 1) {
        log.error('Managers refused a task status', { taskId: batch[0]?.[0] }, error);
        return 0;
      }
      for (const [taskId, status] of batch) {
        if (!pending.has(taskId)) pending.set(taskId, status);
      }
      if (isKind(error, ...REFUSALS)) {
        this.#oneByOne = batch.length;
        return 0;
      }
      if (!isRetryable(error)) throw error;
      log.warn('Could not report task statuses', { tasks: batch.length }, error);
      return attempt + 1;
    }
  }

  async #backOff(attempt: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#modules;
    await sleep(clock, backoffMs(attempt, RETRY, random), signal);
  }

  #somethingPending(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      this.#wake = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
    });
  }
}

/** Whether it decides on who gets connections: what was stopped has long got none. */
function isNews({ state }: TaskStatus): boolean {
  return rankOf(state) >= rankOf(TaskState.RUNNING) && state !== TaskState.SHUTDOWN;
}
