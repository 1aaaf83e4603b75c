/**
 * Owns what was started and ends it in reverse order. Every step runs, whatever the others throw.
 * (Node 20 has Symbol.asyncDispose but no AsyncDisposableStack.)
 */
export class DisposableStack implements AsyncDisposable {
  readonly #steps: { name: string; dispose: () => void | Promise<void> }[] = [];

  /** Registers an undo step; `name` appears in the error if it fails. */
  defer(name: string, dispose: () => void | Promise<void>): void {
    this.#steps.push({ name, dispose });
  }

  /** Registers an object that is ended with this stack, and returns it. */
  use<T extends AsyncDisposable>(name: string, value: T): T {
    this.defer(name, () => Promise.resolve(value[Symbol.asyncDispose]()));
    return value;
  }

  /** Keeps everything alive: hands the steps to a new stack that becomes their owner. */
  move(): DisposableStack {
    const heir = new DisposableStack();
    heir.#steps.push(...this.#steps.splice(0));
    return heir;
  }

  /** @throws {AggregateError} of all steps that failed, after all have run */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.dispose();
      } catch (error) {
        errors.push(new Error(step.name, { cause: error }));
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'ending parts');
  }
}
