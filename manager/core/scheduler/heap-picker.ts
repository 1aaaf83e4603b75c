import type { Candidates } from './candidates.js';
import { Heap } from './heap.js';
import type { NodeView } from './node-view.js';

/**
 * Finds the best node for one more task, again and again. What was placed must show in the state
 * before the next is asked for.
 */
export interface Picker {
  best(): NodeView | undefined;
}

/**
 * Takes from a heap; the effort per task grows with the logarithm of the nodes. It relies on each
 * task having been placed on the node that it named last.
 */
export class HeapPicker implements Picker {
  readonly #heap: Heap<NodeView>;
  readonly #candidates: Candidates;
  #top: NodeView | undefined;

  constructor(candidates: Candidates, views: readonly NodeView[]) {
    this.#candidates = candidates;
    this.#heap = new Heap(views, (a, b) => candidates.ranking.compare(a, b));
  }

  best(): NodeView | undefined {
    if (this.#top !== undefined) this.#heap.sinkTop();
    for (this.#top = this.#heap.top(); this.#top !== undefined; this.#top = this.#heap.top()) {
      if (this.#candidates.hasRoom(this.#top)) break;
      this.#heap.dropTop(); // what is used up does not come back within a pass
    }
    return this.#top;
  }
}
