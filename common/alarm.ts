import { sleep, type Clock } from './clock.js';

/** Ends the sleep of one who waits for a time but would rather know at once. */
export class Alarm {
  readonly #clock: Clock;
  #bell = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the present sleep, or the next one before it begins. */
  ring(): void {
    this.#bell.abort();
  }

  /** What rang until now is known. */
  clear(): void {
    if (this.#bell.signal.aborted) this.#bell = new AbortController();
  }

  /**
   * Resolves after `delayMs`, or when it rings. One sleeper at a time.
   * @throws the signal's reason
   */
  async sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (delayMs <= 0) return;
    const bell = this.#bell;
    const onAbort = (): void => bell.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await sleep(this.#clock, delayMs, bell.signal);
    } catch (error) {
      if (!bell.signal.aborted) throw error;
      signal.throwIfAborted();
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
