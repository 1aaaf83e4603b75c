/** Runs one piece of asynchronous work at a time, in the order of the calls. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    // who called hears of the failure; those behind go on all the same
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
