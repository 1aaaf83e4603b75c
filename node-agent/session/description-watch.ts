import { sleep, type Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { NodeDescription } from '../../common/model/objects.js';

/** How often the host is looked at for other routes and ports. */
const LOOK_MS = 5000;

export interface DescriptionWatchModules {
  readonly describe: () => Promise<NodeDescription>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Knows what has changed of this node since its manager was told of it last. */
export class DescriptionWatch {
  readonly #modules: DescriptionWatchModules;
  #told: string;
  #news: NodeDescription | undefined;

  /** @param told what the manager knows */
  constructor(told: NodeDescription, modules: DescriptionWatchModules) {
    this.#told = JSON.stringify(told);
    this.#modules = modules;
  }

  /** What the manager is to be told; undefined when it knows all. */
  get news(): NodeDescription | undefined {
    return this.#news;
  }

  /** The manager has been told. */
  onTold(description: NodeDescription): void {
    this.#told = JSON.stringify(description);
    if (this.#news === description) this.#news = undefined;
  }

  /** Looks again and again. @throws the signal's reason */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, log, describe } = this.#modules;
    for (;;) {
      await sleep(clock, LOOK_MS, signal);
      try {
        const now = await describe();
        this.#news = JSON.stringify(now) === this.#told ? undefined : now;
      } catch (error) {
        signal.throwIfAborted();
        log.warn('Could not look at this host', {}, error);
      }
    }
  }
}
