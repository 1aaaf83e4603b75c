import type { Candidates } from './candidates.js';
import { Heap } from './heap.js';
import type { NodeView } from './node-view.js';
import { compareRanked, type Ranked } from './rank.js';

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
  readonly #heap: Heap<Ranked>;
  readonly #candidates: Candidates;
  #top: Ranked | undefined;

  constructor(candidates: Candidates, views: readonly NodeView[]) {
    this.#candidates = candidates;
    const ranked: Ranked[] = [];
    for (const view of views) {
      if (candidates.hasRoom(view)) ranked.push(candidates.ranking.rank(view));
    }
    this.#heap = new Heap(ranked, compareRanked);
  }

  best(): NodeView | undefined {
    return this.bestRanked()?.view;
  }

  bestRanked(): Ranked | undefined {
    const { ranking } = this.#candidates;
    if (this.#top !== undefined) this.#heap.replaceTop(ranking.rank(this.#top.view));
    for (this.#top = this.#heap.top(); this.#top !== undefined; this.#top = this.#heap.top()) {
      if (this.#candidates.hasRoom(this.#top.view)) break;
      this.#heap.dropTop(); // what is used up does not come back within a pass
    }
    return this.#top;
  }
}
