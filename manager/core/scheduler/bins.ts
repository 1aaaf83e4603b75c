import { groupBy } from '../group-by.js';
import { BinGroup, type Shared } from './bin-group.js';
import type { Candidates } from './candidates.js';
import { valueFor } from './counters.js';
import type { NodeView } from './node-view.js';
import { HeapPicker, type Picker } from './heap-picker.js';

/** Something that nodes of all values are compared with, see Check.baseline. */
interface Baseline {
  readonly now: () => number;
  /** As of which the groups of this depth are weighed. */
  was: number;
  readonly depth: number;
}

const NONE: readonly (readonly BinGroup[])[] = [];

/**
 * Chooses among bins first, as one task placed changes what all nodes of a bin are worth, and other
 * bins with it; within a bin a heap says which node. A bin is made of the nodes that agree in all
 * values that tasks are spread over, or drawn to; a missing label is a value of its own.
 *
 * Bins are in groups by the key with the fewest values, these by the next one, and so on: zones hold
 * racks, racks hold nodes. A task placed changes the groups that its node is in, so that its effort
 * grows with the logarithm of the values. It costs more only
 * 1. where keys cross, as zones and kinds of disks do: for the groups that have the value, too;
 * 2. where all values have one task more than before: for all of them, once.
 */
export class BinPicker implements Picker {
  readonly #candidates: Candidates;
  /** Those with the fewest values first. */
  readonly #keys: readonly string[];
  readonly #shared: readonly Shared[];
  /** depth → groups that agree in the values of so many keys. */
  readonly #groups: readonly BinGroup[][];
  /** group → lists of those, it among them, that one of their shared counts is the same for. */
  readonly #kin = new Map<BinGroup, readonly (readonly BinGroup[])[]>();
  readonly #baselines: readonly Baseline[];
  readonly #whole: BinGroup | undefined;
  #last: BinGroup | undefined;

  constructor(candidates: Candidates) {
    this.#candidates = candidates;
    const views = candidates.eligible();
    this.#keys = candidates
      .binKeys()
      .map((key) => ({ key, values: new Set(views.map((view) => view.value(key))).size }))
      .sort((a, b) => a.values - b.values)
      .map(({ key }) => key);
    this.#groups = Array.from({ length: this.#keys.length + 1 }, () => []);
    this.#shared = this.#groups.map((_, depth) => this.#sharedAt(depth));
    this.#whole = this.#group(views, 0);
    this.#findKin();
    this.#baselines = [...candidates.shiftingChecks, ...candidates.shiftingWishes].flatMap(
      ({ shiftsWith = [], baseline: now }) =>
        now === undefined ? [] : [{ now, was: now(), depth: this.#depthOf(shiftsWith) }],
    );
  }

  best(): NodeView | undefined {
    if (this.#last !== undefined) this.#shift(this.#last);
    for (;;) {
      this.#last = undefined;
      const top = this.#whole?.top;
      if (top === undefined || this.#whole?.fits !== true) return undefined;
      this.#last = this.#whole.bestBin();
      // A task placed elsewhere may have taken the room, but never gives any.
      if (this.#candidates.hasRoom(top.view)) return top.view;
      this.#last?.refresh();
    }
  }

  /** A task was placed in the bin. */
  #shift(bin: BinGroup): void {
    for (let group: BinGroup | undefined = bin; group !== undefined; group = group.parent) {
      for (const alike of this.#kinOf(group)) for (const other of alike) other.refresh();
    }
    bin.refresh();
    for (const baseline of this.#baselines) {
      const now = baseline.now();
      if (now === baseline.was) continue;
      baseline.was = now;
      for (const group of this.#groups[baseline.depth] ?? []) group.refresh();
    }
  }

  #group(views: readonly NodeView[], depth: number): BinGroup | undefined {
    const [sample] = views;
    const shared = this.#shared[depth];
    if (sample === undefined || shared === undefined) return undefined;
    const key = this.#keys[depth];
    const content =
      key === undefined
        ? new HeapPicker(this.#candidates, views)
        : [...groupBy(views, (view) => view.value(key)).values()].flatMap(
            (members) => this.#group(members, depth + 1) ?? [],
          );
    const group = new BinGroup(sample, shared, content);
    this.#groups[depth]?.push(group);
    return group;
  }

  /** From which depth on the nodes of a group agree in the values of all these keys. */
  #depthOf(keys: readonly string[]): number {
    return Math.max(0, ...keys.map((key) => this.#keys.indexOf(key) + 1));
  }

  #sharedAt(depth: number): Shared {
    const { shiftingChecks, shiftingWishes, crowdings } = this.#candidates;
    const isHere = (keys: readonly string[] = []): boolean => this.#depthOf(keys) === depth;
    return {
      checks: shiftingChecks.filter((check) => isHere(check.shiftsWith)),
      wishes: shiftingWishes.filter((wish) => isHere(wish.shiftsWith)),
      crowdings: crowdings.flatMap((crowding, rank) =>
        isHere(crowding.keys) ? [{ rank, crowding }] : [],
      ),
    };
  }

  #findKin(): void {
    for (const [depth, groups] of this.#groups.entries()) {
      for (const keys of this.#keysAt(depth)) {
        if (new Set(keys).size === depth) continue; // each group has values of its own
        for (const alike of groupBy(groups, (g) => valueFor(g.sample, keys)).values()) {
          if (alike.length < 2) continue;
          for (const group of alike) this.#kin.set(group, [...this.#kinOf(group), alike]);
        }
      }
    }
  }

  #kinOf(group: BinGroup): readonly (readonly BinGroup[])[] {
    return this.#kin.get(group) ?? NONE;
  }

  #keysAt(depth: number): (readonly string[])[] {
    const { checks = [], wishes = [], crowdings = [] } = this.#shared[depth] ?? {};
    const keys = [
      ...[...checks, ...wishes].map(({ shiftsWith = [] }) => shiftsWith),
      ...crowdings.map(({ crowding }) => crowding.keys),
    ];
    return [...new Map(keys.map((list) => [list.join('\n'), list])).values()];
  }
}
