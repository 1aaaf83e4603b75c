import { T0 } from '../../support/builders.js';

interface Step {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/**
 * Simulated time: steps in order of their time, those of one time in order of their making. Between
 * two steps everything that can go on does so, however many promises it takes.
 */
export class Timeline {
  #nowMs = T0;
  #order = 0;
  #steps = 0;
  readonly #heap: Step[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  /** How many steps were made. */
  get steps(): number {
    return this.#steps;
  }

  /** @returns what takes the step back */
  after(delayMs: number, run: () => void): () => void {
    const step: Step = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(step);
    return () => {
      step.run = undefined;
    };
  }

  /** Runs the next step and all that follows from it at once. @returns false when there is none */
  async step(untilMs = Infinity): Promise<boolean> {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (top.run !== undefined && top.atMs > untilMs) break;
      this.#pop();
      if (top.run === undefined) continue;
      this.#nowMs = Math.max(this.#nowMs, top.atMs);
      this.#steps++;
      top.run();
      await settled();
      return true;
    }
    if (untilMs < Infinity) this.#nowMs = Math.max(this.#nowMs, untilMs);
    return false;
  }

  #push(step: Step): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(step);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (parent === undefined || !isBefore(step, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = step;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      let child = heap[childAt];
      if (child === undefined) break;
      const right = heap[childAt + 1];
      if (right !== undefined && isBefore(right, child)) [child, childAt] = [right, childAt + 1];
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }
}

function isBefore(a: Step, b: Step): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/**
 * Resolves when no promise is left that can go on: Node runs a tick that a promise's continuation asks
 * for only once the queue of continuations is empty. Much cheaper than a turn of the event loop.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve);
  });
}
