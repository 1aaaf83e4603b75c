interface Flight<T, P> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  readonly listeners: Set<(progress: P) => void>;
  waiters: number;
}

/**
 * Work that several callers want at the same time is done once.
 * 1. All callers of a key get the same result or the same error.
 * 2. A caller whose signal aborts stops waiting. The last one aborts the work itself, and waits
 *    until it has cleaned up.
 * 3. Nothing is remembered once the work has ended.
 */
export class SharedWork<T, P = never> {
  readonly #flights = new Map<string, Flight<T, P>>();

  /** @throws what `start` throws, or the reason of the caller's signal */
  async run(
    key: string,
    start: (signal: AbortSignal, onProgress: (progress: P) => void) => Promise<T>,
    options: { signal?: AbortSignal; onProgress?: (progress: P) => void } = {},
  ): Promise<T> {
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#begin(key, start);
    flight.waiters++;
    if (onProgress !== undefined) flight.listeners.add(onProgress);
    try {
      return await untilAborted(flight.result, signal);
    } finally {
      if (onProgress !== undefined) flight.listeners.delete(onProgress);
      if (--flight.waiters === 0) await this.#abandon(key, flight);
    }
  }

  #begin(
    key: string,
    start: (signal: AbortSignal, onProgress: (progress: P) => void) => Promise<T>,
  ): Flight<T, P> {
    const controller = new AbortController();
    const listeners = new Set<(progress: P) => void>();
    const tell = (progress: P): void => {
      for (const listener of listeners) listener(progress);
    };
    const flight = { result: start(controller.signal, tell), controller, listeners, waiters: 0 };
    this.#flights.set(key, flight);
    const forget = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.result.then(forget, forget);
    return flight;
  }

  /** Nobody waits any more; for work that has ended this does nothing. */
  async #abandon(key: string, flight: Flight<T, P>): Promise<void> {
    if (this.#flights.get(key) !== flight) return;
    this.#flights.delete(key);
    flight.controller.abort();
    await flight.result.catch(() => undefined); // the abort is what its caller is told of
  }
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
