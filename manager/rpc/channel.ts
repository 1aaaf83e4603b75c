/**
 * Joins many producers to one reader. Producers that are far ahead wait in `push`.
 * 1. What one producer pushes is read in its order.
 * 2. After `close` the reader still gets what was pushed before; after `fail`, the error next.
 * 3. When the reader stops, every `push` returns false.
 */
export class Channel<T> {
  readonly #limit: number;
  #items: T[] = [];
  #state: 'open' | 'closed' | 'abandoned' = 'open';
  #failure: Error | undefined;
  #wakeReader: () => void = () => undefined;
  #wakeProducers: (() => void)[] = [];

  /** @param limit items that may wait for the reader */
  constructor(limit = 64) {
    this.#limit = limit;
  }

  /** @returns false when nobody reads any more */
  async push(item: T): Promise<boolean> {
    while (this.#state === 'open' && this.#items.length >= this.#limit) {
      await new Promise<void>((resolve) => this.#wakeProducers.push(resolve));
    }
    if (this.#state !== 'open') return false;
    this.#items.push(item);
    this.#wakeReader();
    return true;
  }

  close(): void {
    if (this.#state === 'open') this.#end('closed');
  }

  fail(error: Error): void {
    if (this.#state !== 'open') return;
    this.#failure = error;
    this.#items = [];
    this.#end('closed');
  }

  /** The reader stops: every `push` returns false from now on. */
  abandon(): void {
    this.#end('abandoned');
  }

  /** Once only. @throws what `fail` was given */
  async *read(): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#items.length > 0) yield this.#take();
        else if (this.#state !== 'open') return;
        else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
    } finally {
      this.abandon();
    }
  }

  #take(): T {
    const [item] = this.#items.splice(0, 1) as [T];
    for (const wake of this.#wakeProducers.splice(0)) wake();
    return item;
  }

  #end(state: 'closed' | 'abandoned'): void {
    this.#state = state;
    this.#wakeReader();
    for (const wake of this.#wakeProducers.splice(0)) wake();
  }
}
