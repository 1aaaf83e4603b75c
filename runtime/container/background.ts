import type { Logger } from '../../common/logger.js';

/** Work that nobody waits for, until the engine ends. */
export class Background implements AsyncDisposable {
  readonly #log: Logger;
  readonly #running = new Set<Promise<void>>();
  #isEnding = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Begins `work`, which is logged when it fails; nothing once the engine is ending. */
  run(what: string, containerId: string, work: () => Promise<unknown>): void {
    if (this.#isEnding) return;
    const running = work().then(
      () => undefined,
      (error: unknown) => {
        this.#log.warn(`${what} failed`, { containerId }, error);
      },
    );
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  /** Takes nothing more, and waits for what has begun. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#running);
  }
}
