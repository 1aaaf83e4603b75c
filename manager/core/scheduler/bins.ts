import { groupBy } from '../group-by.js';
import type { Candidates } from './candidates.js';
import { valueFor } from './counters.js';
import { passesAll } from './filters/check.js';
import type { NodeView } from './node-view.js';
import { HeapPicker, type Picker } from './heap-picker.js';
import { compareRoom, type Ranked } from './rank.js';
import { sumOf } from './wishes.js';

/** Nodes that agree in all values that tasks are spread over, or drawn to. */
interface Bin {
  readonly picker: HeapPicker;
  /** Any of its nodes: they are all alike in what shifts. */
  readonly sample: NodeView;
  top: Ranked | undefined;
}

/**
 * Chooses among bins first, as one task placed changes what all nodes of a bin are worth, and other
 * bins with it; within a bin a heap says which node. A missing label is a value of its own.
 */
export class BinPicker implements Picker {
  readonly #candidates: Candidates;
  readonly #bins: readonly Bin[];
  #last: Bin | undefined;

  constructor(candidates: Candidates) {
    this.#candidates = candidates;
    const keys = candidates.binKeys();
    const members = groupBy(candidates.eligible(), (view) => valueFor(view, keys));
    this.#bins = [...members.values()].flatMap((views) => {
      const [sample] = views;
      if (sample === undefined) return [];
      const picker = new HeapPicker(candidates, views);
      return { picker, sample, top: picker.bestRanked() };
    });
  }

  best(): NodeView | undefined {
    if (this.#last !== undefined) this.#last.top = this.#last.picker.bestRanked();
    this.#last = undefined;
    const { shiftingChecks } = this.#candidates;
    for (const bin of this.#bins) {
      if (bin.top === undefined || !passesAll(shiftingChecks, bin.sample)) continue;
      if (this.#last === undefined || this.#compare(bin, this.#last) < 0) this.#last = bin;
    }
    return this.#last?.top?.view;
  }

  /** Negative if `a` is better; both have a top. */
  #compare(a: Bin, b: Bin): number {
    if (a.top === undefined || b.top === undefined) return 0;
    const { crowdings } = this.#candidates;
    const byStanding =
      a.top.reluctance - b.top.reluctance ||
      a.top.unfulfilled - this.#wish(a) - (b.top.unfulfilled - this.#wish(b));
    if (byStanding !== 0) return byStanding;
    for (const crowding of crowdings) {
      const difference = crowding.on(a.sample) - crowding.on(b.sample);
      if (difference !== 0) return difference;
    }
    return compareRoom(a.top, b.top);
  }

  #wish(bin: Bin): number {
    return sumOf(this.#candidates.shiftingWishes, bin.sample);
  }
}
