import type { TopologySpread } from '../../../../proto/gen/hatoba/v1/types.js';
import { countOfService, type TopologyCounter } from '../counters.js';
import type { NodeView } from '../node-view.js';
import type { PlacementRequest } from '../request.js';
import type { SchedulerState } from '../state.js';
import { shortened, verb, type Check } from './check.js';

/** How a service's tasks are spread over the values of one label, of the nodes that may have them. */
export class SpreadCounts {
  readonly key: string;
  readonly maxSkew: number;
  readonly #counter: TopologyCounter;
  readonly #values: ReadonlySet<string>;
  readonly #place: string | undefined;
  #leastAsOf = -1;
  #least = 0;
  /** Those that were at the least; the last of them still is. */
  #behind: string[] = [];

  constructor(spread: TopologySpread, request: PlacementRequest, state: SchedulerState) {
    this.key = spread.key;
    this.maxSkew = Math.max(1, spread.maxSkew);
    this.#counter = state.counter(countOfService(request.task.serviceId, [spread.key]));
    this.#place = request.place;
    const values = state.nodes.eligible(request).views.map((v) => v.value(spread.key));
    // For a condition a node without the label is no place at all; as a wish it is one of its own.
    this.#values = new Set(spread.required ? values.filter((v) => v !== '') : values);
  }

  on(view: NodeView): number {
    return this.#counter.on(view, this.#place);
  }

  /** By how much one more task there would be over the skew that is allowed; 0 = it may. */
  excess(view: NodeView): number {
    return Math.max(0, this.on(view) + 1 - this.least() - this.maxSkew);
  }

  /**
   * Of the values that tasks may go to, the count of the one with fewest. All are looked at only when
   * that rises, which takes a task on each of them.
   */
  least(): number {
    if (this.#leastAsOf !== this.#counter.decreases) {
      this.#leastAsOf = this.#counter.decreases;
      this.#behind = [];
    }
    for (let last = this.#behind.at(-1); last !== undefined; last = this.#behind.at(-1)) {
      if (this.#counter.at(last, this.#place) === this.#least) return this.#least;
      this.#behind.pop();
    }
    this.#lookAtAll();
    return this.#least;
  }

  #lookAtAll(): void {
    this.#least = this.#values.size === 0 ? 0 : Infinity;
    for (const value of this.#values) {
      const count = this.#counter.at(value, this.#place);
      if (count > this.#least) continue;
      if (count < this.#least) this.#behind = [];
      this.#least = count;
      this.#behind.push(value);
    }
  }

  /** Values that hold the others back. */
  leastValues(): string[] {
    const least = this.least();
    return [...this.#values].filter((v) => this.#counter.at(v, this.#place) === least);
  }
}

export function spreadChecks(request: PlacementRequest, state: SchedulerState): Check[] {
  return request.spreads
    .filter((spread) => spread.required)
    .map((spread): Check => {
      const counts = new SpreadCounts(spread, request, state);
      return {
        fits: (view) => view.value(spread.key) !== '' && counts.excess(view) === 0,
        explain: (failed) => explain(counts, failed),
        shiftsWith: [spread.key],
        baseline: () => counts.least(),
      };
    });
}

function explain(counts: SpreadCounts, failed: readonly NodeView[]): string {
  const { key, maxSkew } = counts;
  const unlabelled = failed.filter((v) => v.value(key) === '');
  if (unlabelled.length === failed.length) {
    return `${verb(failed, 'has', 'have')} no ${key} to spread over (${shortened(unlabelled.map((v) => v.name))})`;
  }
  const behind = shortened(counts.leastValues());
  return (
    `${verb(failed, 'is', 'are')} ahead in the spread over ${key} ` +
    `(at most ${maxSkew} more than ${behind} with ${counts.least()}, where nothing fits)`
  );
}
