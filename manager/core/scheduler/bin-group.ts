import { passesAll, type Check } from './filters/check.js';
import type { HeapPicker } from './heap-picker.js';
import { Heap } from './heap.js';
import type { NodeView } from './node-view.js';
import { compareRoom, type Ranked } from './rank.js';
import { sumOf, type Crowding, type Wish } from './wishes.js';

/** What the nodes of a group have in common, and those of the group around it do not. */
export interface Shared {
  readonly checks: readonly Check[];
  readonly wishes: readonly Wish[];
  readonly crowdings: readonly { readonly rank: number; readonly crowding: Crowding }[];
}

/**
 * Nodes that agree in the values of some keys. A bin holds the nodes themselves; other groups hold
 * groups that agree in one key more, the best of them on top.
 *
 * Each knows its best node, and what that is worth beside the best ones of its siblings: what a
 * group shares makes no difference within it. So a task placed changes the worth of the groups that
 * the node is in and of no others, but for what BinPicker looks after.
 */
export class BinGroup {
  /** Any of its nodes: they are all alike in what is shared. */
  readonly sample: NodeView;
  /** Set in all groups but the whole. */
  parent: BinGroup | undefined;
  /** The best node; none when there is no room on any, now and for the rest of the pass. */
  top: Ranked | undefined;
  fits = false;
  readonly #shared: Shared;
  readonly #bin: HeapPicker | undefined;
  readonly #groups: Heap<BinGroup> | undefined;
  readonly #crowds: number[] = [];
  #unfulfilled = 0;
  #at = 0;

  constructor(sample: NodeView, shared: Shared, content: HeapPicker | readonly BinGroup[]) {
    this.sample = sample;
    this.#shared = shared;
    if ('bestRanked' in content) this.#bin = content;
    else {
      for (const group of content) group.parent = this;
      this.#groups = new Heap(content, compareGroups, (group, at) => (group.#at = at));
    }
    this.#weigh();
  }

  /** The bin that the best node is in. */
  bestBin(): BinGroup | undefined {
    return this.#groups === undefined ? this : this.#groups.top()?.bestBin();
  }

  /** To be called when a task was placed on its best node, or what it shares has changed. */
  refresh(): void {
    this.#weigh();
    if (this.parent === undefined) return;
    this.parent.#groups?.changed(this.#at);
    this.parent.refresh();
  }

  #weigh(): void {
    const best = this.#groups?.top();
    this.top = this.#bin === undefined ? best?.top : this.#bin.bestRanked();
    if (this.top === undefined) return;
    const { checks, wishes, crowdings } = this.#shared;
    this.fits = (best?.fits ?? true) && passesAll(checks, this.sample);
    this.#unfulfilled =
      (best ? best.#unfulfilled : this.top.unfulfilled) - sumOf(wishes, this.sample);
    if (best !== undefined)
      for (const [i, crowd] of best.#crowds.entries()) this.#crowds[i] = crowd;
    for (const { rank, crowding } of crowdings) this.#crowds[rank] = crowding.on(this.sample);
  }

  /** Negative if this one is better. Of no concern is what both share. */
  compare(other: BinGroup): number {
    if (this.top === undefined || other.top === undefined) {
      return Number(this.top === undefined) - Number(other.top === undefined);
    }
    const byStanding =
      Number(other.fits) - Number(this.fits) ||
      this.top.reluctance - other.top.reluctance ||
      this.#unfulfilled - other.#unfulfilled;
    if (byStanding !== 0) return byStanding;
    for (let i = 0; i < this.#crowds.length; i++) {
      const difference = (this.#crowds[i] ?? 0) - (other.#crowds[i] ?? 0);
      if (difference !== 0) return difference;
    }
    return compareRoom(this.top, other.top);
  }
}

function compareGroups(a: BinGroup, b: BinGroup): number {
  return a.compare(b);
}
