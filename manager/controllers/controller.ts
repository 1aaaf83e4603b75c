import type { Clock } from '../../common/clock.js';
import { HatobaError, isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import { WorkQueue, type WorkQueueMetrics } from '../../common/workqueue.js';

/**
 * A control loop, level-triggered: it is told *which* key to look at, never what happened to it,
 * and brings that key's part of the world one step closer to what is wanted. It may be called
 * again at any time, also when there is nothing to do, and never twice at once for one key.
 */
export interface Controller {
  /** For logs and metrics: "orchestrate". */
  readonly name: string;
  /**
   * Enqueues every key there is now, and from then on each key that may need a look.
   * @returns what ends the subscriptions
   */
  watch(enqueue: (key: string) => void): readonly (() => void)[];
  /**
   * Reads the current state, writes what is missing, and says when to look again at the latest.
   * A throw is retried with growing delays. The signal ends leadership; writes after it are fenced
   * off by the store in any case.
   */
  reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult>;
  /** All keys are enqueued again this often, as a net under lost wake-ups. Default 5 min. */
  readonly resyncMs?: number;
  /** Keys worked on at once. Default 1. */
  readonly workers?: number;
}
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- most loops have nothing to say
export type ReconcileResult = { requeueAfterMs?: number } | void;

export interface ControllerModules {
  clock: Clock;
  random: Random;
  logger: Logger;
}

/** Counters of one loop since it was started. */
export interface ControllerMetrics extends WorkQueueMetrics {
  name: string;
  reconciles: number;
  errors: number;
  conflicts: number;
  /** Sum of the time spent in `reconcile`. */
  workMs: number;
}

const RESYNC_MS = 300_000;
/** From this many failures in a row on, a key is worth a line in the log each time. */
const FAILURES_TO_WARN = 3;

/** Runs one controller: queue, workers, retries, resync, counters, drain. */
export class ControllerRunner {
  readonly #controller: Controller;
  readonly #modules: ControllerModules;
  readonly #queue: WorkQueue;
  readonly #counts = { reconciles: 0, errors: 0, conflicts: 0, workMs: 0 };

  constructor(controller: Controller, modules: ControllerModules) {
    this.#controller = controller;
    this.#modules = {
      ...modules,
      logger: modules.logger.child({ controller: controller.name }),
    };
    this.#queue = new WorkQueue(modules);
  }

  metrics(): ControllerMetrics {
    return { name: this.#controller.name, ...this.#queue.metrics(), ...this.#counts };
  }

  /** Runs until the signal aborts; resolves when the last `reconcile` has returned. Once only. */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { resyncMs = RESYNC_MS, workers = 1 } = this.#controller;
    let stopResync = (): void => undefined;
    let unwatch: readonly (() => void)[] = [];
    const watch = (): void => {
      for (const end of unwatch) end();
      unwatch = this.#controller.watch((key) => this.#queue.add(key));
      stopResync = this.#modules.clock.setTimer(resyncMs, watch);
    };
    const stop = (): void => {
      stopResync();
      for (const end of unwatch) end();
      this.#queue.close();
    };
    watch();
    signal.addEventListener('abort', stop, { once: true });
    await Promise.all(Array.from({ length: workers }, () => this.#work(signal)));
  }

  async #work(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await this.#queue.take();
      if (key === undefined) return;
      const startMs = this.#modules.clock.nowMs();
      try {
        const result = await this.#controller.reconcile(key, signal);
        this.#queue.forget(key);
        if (result?.requeueAfterMs !== undefined) {
          // A timer cannot be set for a month; and the resync looks again before that in any case.
          this.#queue.addAfter(key, Math.min(result.requeueAfterMs, RESYNC_MS));
        }
      } catch (error) {
        this.#onError(key, error, signal);
      } finally {
        this.#counts.reconciles++;
        this.#counts.workMs += this.#modules.clock.nowMs() - startMs;
        this.#queue.done(key);
      }
    }
  }

  /** Conflicts are the normal way to learn that the view was behind; the rest is worth a word. */
  #onError(key: string, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return; // what was under way when leadership ended
    this.#queue.addRateLimited(key);
    const failures = this.#queue.failuresOf(key);
    const fields = { key, failures };
    const { logger } = this.#modules;
    if (isKind(error, 'conflict', 'cancelled')) {
      this.#counts.conflicts++;
      logger.debug('Reconcile met a conflict', fields, error);
      return;
    }
    this.#counts.errors++;
    if (!(error instanceof HatobaError)) logger.error('Reconcile broke', fields, error);
    else if (failures >= FAILURES_TO_WARN) logger.warn('Reconcile keeps failing', fields, error);
    else logger.info('Reconcile failed, will be repeated', fields, error);
  }
}

/**
 * Runs all controllers until the signal aborts and the last of them is drained.
 * @param onStart is handed the runners, for their metrics
 */
export async function runControllers(
  controllers: readonly Controller[],
  modules: ControllerModules,
  signal: AbortSignal,
  onStart: (runners: readonly ControllerRunner[]) => void = () => undefined,
): Promise<void> {
  const runners = controllers.map((c) => new ControllerRunner(c, modules));
  onStart(runners);
  await Promise.all(runners.map((r) => r.run(signal)));
}
