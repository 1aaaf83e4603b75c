import type { Clock } from '../../common/clock.js';
import { isKind } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { EngineSystem } from '../../runtime/engine.js';

/** Has the engine collect its garbage again and again, the first time after one interval. */
export class GarbageRounds implements AsyncDisposable {
  readonly #intervalMs: number;
  readonly #modules: { system: Pick<EngineSystem, 'collectGarbage'>; clock: Clock; log: Logger };
  readonly #stop = new AbortController();
  #cancel: () => void = () => undefined;
  #round: Promise<void> = Promise.resolve();

  constructor(
    options: { intervalMs: number },
    modules: { system: Pick<EngineSystem, 'collectGarbage'>; clock: Clock; log: Logger },
  ) {
    this.#intervalMs = options.intervalMs;
    this.#modules = modules;
    this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#cancel();
    await this.#round;
  }

  #schedule(): void {
    this.#cancel = this.#modules.clock.setTimer(this.#intervalMs, () => {
      this.#round = this.#collect();
    });
  }

  async #collect(): Promise<void> {
    const { system, log } = this.#modules;
    try {
      const { removed, reclaimedBytes } = await system.collectGarbage(this.#stop.signal);
      if (removed.length > 0) {
        log.info('Collected garbage', { removed: removed.length, reclaimedBytes });
      }
    } catch (error) {
      if (!this.#stop.signal.aborted && !isKind(error, 'cancelled')) {
        log.warn('Could not collect garbage', {}, error);
      }
    }
    if (!this.#stop.signal.aborted) this.#schedule();
  }
}
