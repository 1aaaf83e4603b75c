/**
 * Flushes of one file system, which are long and flush everything: who asks while one runs waits
 * for the next one, together with all others who do.
 */
export class JoinedSync {
  readonly #sync: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** Resolves after a flush that began after this call. @throws what that one throws */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#begin();
    this.#next ??= this.#after(this.#running);
    return this.#next;
  }

  #begin(): Promise<void> {
    const running = this.#sync().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  async #after(running: Promise<void>): Promise<void> {
    await running.catch(() => undefined); // its own callers are told
    this.#next = undefined;
    await this.#begin();
  }
}
