/**
 * Wakes the loop that produces a stream. A change while the loop is busy is remembered, and many
 * count once: a slow receiver finds its changes put together, not queued.
 */
export class Pulse {
  #pending = false;
  #wake: (() => void) | undefined;

  fire(): void {
    this.#pending = true;
    this.#wake?.();
  }

  /**
   * Resolves at the next `fire`, at once if one came since the last wait. One waiter at a time.
   * @throws the signal's reason
   */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#pending) await this.#fired(signal);
    signal.throwIfAborted();
    this.#pending = false;
  }

  #fired(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }
}
