import { dynamicChecks } from './filters/all-filters.js';
import { passesAll, sortOut, type Check } from './filters/check.js';
import type { NodeView } from './node-view.js';
import { Ranking } from './rank.js';
import type { PlacementRequest } from './request.js';
import type { SchedulerState } from './state.js';
import { crowdingsOf, wishesOf, type Crowding, type Wish } from './wishes.js';

/**
 * The nodes for one class of tasks, as the state is at any moment: which may take one more, and
 * which is better. What depends on a node alone is kept apart from what shifts with tasks placed
 * elsewhere, as only the former may be remembered in a heap.
 */
export class Candidates {
  readonly request: PlacementRequest;
  readonly state: SchedulerState;
  readonly ranking: Ranking;
  readonly crowdings: readonly Crowding[];
  readonly shiftingChecks: readonly Check[];
  readonly shiftingWishes: readonly Wish[];
  readonly #dynamic: readonly Check[];
  readonly #steady: readonly Check[];
  readonly #hasWishes: boolean;

  constructor(request: PlacementRequest, state: SchedulerState, nowMs: number) {
    this.request = request;
    this.state = state;
    this.#dynamic = dynamicChecks(request, state);
    this.#steady = this.#dynamic.filter((c) => c.shiftsWith === undefined);
    this.shiftingChecks = this.#dynamic.filter((c) => c.shiftsWith !== undefined);
    const wishes = wishesOf(request, state);
    this.#hasWishes = wishes.length > 0;
    this.shiftingWishes = wishes.filter((w) => w.shiftsWith !== undefined);
    this.crowdings = crowdingsOf(request, state);
    const steadyWishes = wishes.filter((w) => w.shiftsWith === undefined);
    this.ranking = new Ranking(request, state, nowMs, steadyWishes);
  }

  /** Whether nodes are compared by nothing but failures, taints, tasks of the service and load. */
  get isPlain(): boolean {
    const { crowdings, shiftingChecks, request } = this;
    const simple = crowdings.length === 0 && shiftingChecks.length === 0 && !this.#hasWishes;
    return simple && !request.isBinpack;
  }

  /** Keys of labels whose values make a difference between nodes beyond the nodes themselves. */
  binKeys(): string[] {
    const keys = [
      ...this.crowdings.flatMap((c) => c.keys),
      ...[...this.shiftingChecks, ...this.shiftingWishes].flatMap((x) => x.shiftsWith ?? []),
    ];
    return [...new Set(keys)];
  }

  eligible(): readonly NodeView[] {
    return this.state.nodes.eligible(this.request).views;
  }

  isEligible(view: NodeView): boolean {
    return this.state.nodes.eligible(this.request).set.has(view);
  }

  /** What once was false does not get true again by placing tasks of the class. */
  hasRoom(view: NodeView): boolean {
    return passesAll(this.#steady, view);
  }

  /** Everything, as it is now. */
  fits(view: NodeView): boolean {
    return this.isEligible(view) && passesAll(this.#dynamic, view);
  }

  /** The nodes that may not take one more, by the first check that they fail. */
  failures(): [Check, readonly NodeView[]][] {
    const { views, failures } = this.state.nodes.eligible(this.request);
    return [...failures, ...sortOut(views, this.#dynamic).failures];
  }
}
