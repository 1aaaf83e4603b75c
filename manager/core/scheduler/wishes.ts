import { isMeant, SAME_NODE, type NodeAffinity, type ServiceAffinity } from './affinity.js';
import { matchesConstraint } from './constraint.js';
import { countOfAffinity, countOfService } from './counters.js';
import { SpreadCounts } from './filters/spread-filter.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';
import type { SchedulerState } from './state.js';

/** A task more than allowed weighs as much as the weightiest affinity. */
const SPREAD_WEIGHT = 100;

/** Something that makes a node better or worse for a class, without being a condition. */
export interface Wish {
  /** Higher is better. */
  score(view: NodeView): number;
  /** As of Check: set where placing a task changes the score of other nodes than its own. */
  readonly shiftsWith?: readonly string[];
  /** As of Check. */
  readonly baseline?: () => number;
}

export function sumOf(wishes: readonly Wish[], view: NodeView): number {
  let sum = 0;
  for (const wish of wishes) sum += wish.score(view);
  return sum;
}

export function wishesOf(request: PlacementRequest, state: SchedulerState): Wish[] {
  const wished = request.spreads.filter((s) => !s.required);
  return [
    ...request.wishes.map((a) =>
      a.kind === 'node' ? nodeWish(a) : serviceWish(a, request, state),
    ),
    ...wished.map((spread): Wish => {
      const counts = new SpreadCounts(spread, request, state);
      return {
        score: (view) => -SPREAD_WEIGHT * counts.excess(view),
        shiftsWith: [spread.key],
        baseline: () => counts.least(),
      };
    }),
  ];
}

function nodeWish({ constraint, weight }: NodeAffinity): Wish {
  const known = new Map<NodeView, number>();
  return {
    score: (view) => {
      const score = known.get(view) ?? (matchesConstraint(constraint, view.node) ? weight : 0);
      known.set(view, score);
      return score;
    },
  };
}

function serviceWish(
  affinity: ServiceAffinity,
  { task, place }: PlacementRequest,
  state: SchedulerState,
): Wish {
  const counter = state.counter(countOfAffinity(affinity));
  const { weight, isToward, topology } = affinity;
  const shifts = isMeant(affinity, task) && topology !== SAME_NODE;
  return {
    score: (view) => (counter.on(view, place) > 0 === isToward ? weight : 0),
    ...(shifts ? { shiftsWith: [topology] } : {}),
  };
}

/** How many tasks of the service there are where a node is: fewer are better. */
export interface Crowding {
  readonly keys: readonly string[];
  on(view: NodeView): number;
}

/**
 * Over what a class is spread, the most important first: preferences, each within the one before
 * it, and then its spreads.
 */
export function crowdingsOf(request: PlacementRequest, state: SchedulerState): Crowding[] {
  const { spreadKeys, spreads, task, place } = request;
  const levels = [
    ...spreadKeys.map((_, depth) => spreadKeys.slice(0, depth + 1)),
    ...spreads.map((s) => [s.key]),
  ];
  return levels.map((keys) => {
    const counter = state.counter(countOfService(task.serviceId, keys));
    return { keys, on: (view) => counter.on(view, place) };
  });
}
