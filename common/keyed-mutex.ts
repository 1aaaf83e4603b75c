/** Runs pieces of work with the same key one after the other, in the order they came. */
export class KeyedMutex {
  readonly #tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => T | Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    let release = (): void => undefined;
    const own = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#tails.set(key, own);
    try {
      await before;
      return await work();
    } finally {
      release();
      if (this.#tails.get(key) === own) this.#tails.delete(key);
    }
  }
}
