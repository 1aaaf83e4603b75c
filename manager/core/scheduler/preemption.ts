import type { Task } from '../../../common/model/objects.js';
import { needsOf, type Need } from './filters/room-filters.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';
import { standingOf } from './standing.js';
import type { SchedulerState } from './state.js';
import { fewest } from './victims.js';

/** Nodes that are looked at closely, those that promise most first. */
const MAX_CLOSE_LOOKS = 64;

/** Room that a task can have once tasks of lower priority have ended. */
export interface Eviction {
  readonly view: NodeView;
  /** To be told to stop. */
  readonly victims: readonly Task[];
  /** Have been told so already. */
  readonly stopping: readonly Task[];
}

/** A node where something might give way. */
interface Prospect {
  readonly view: NodeView;
  /** The cheapest first: lowest priority, then the youngest. */
  readonly wanted: readonly Task[];
  readonly stopping: readonly Task[];
  /** No fewer victims than that can be enough. */
  readonly atLeast: number;
}

/**
 * The node where the fewest tasks of strictly lower priority have to give way, and of such nodes
 * one where the dearest of them has the lowest priority. None at all where enough are on their way
 * out already: the task waits for those.
 * @param views where the task may go as far as the lasting filters are concerned
 * @param fits whether a node would take it as the state is
 */
export function findEviction(
  request: PlacementRequest,
  state: SchedulerState,
  views: readonly NodeView[],
  fits: (view: NodeView) => boolean,
): Eviction | undefined {
  if (!state.hasTasksBelow(request.task.spec.priority)) return undefined;
  const needs = needsOf(request);
  const prospects = views
    .flatMap((view) => prospectOf(view, request, needs) ?? [])
    .sort((a, b) => a.atLeast - b.atLeast || priorityOf(a.wanted[0]) - priorityOf(b.wanted[0]));
  let best: Eviction | undefined;
  for (const { view, wanted, stopping, atLeast } of prospects.slice(0, MAX_CLOSE_LOOKS)) {
    const most = best?.victims.length ?? Infinity;
    if (atLeast > most) break;
    const isEnough = (victims: readonly Task[]): boolean =>
      state.without([...stopping, ...victims], () => fits(view));
    const victims = fewest(wanted, isEnough, most);
    if (victims === undefined) continue;
    if (victims.length === 0) return { view, victims, stopping };
    const eviction = { view, victims, stopping };
    if (best === undefined || compareCost(eviction, best) < 0) best = eviction;
  }
  return best;
}

function compareCost(a: Eviction, b: Eviction): number {
  const dearest = ({ victims }: Eviction): number => priorityOf(victims.at(-1));
  return a.victims.length - b.victims.length || dearest(a) - dearest(b);
}

function priorityOf(task: Task | undefined): number {
  return task?.spec.priority ?? -Infinity;
}

/** Undefined where not even all that is below the priority would leave enough. */
function prospectOf(
  view: NodeView,
  { task }: PlacementRequest,
  needs: readonly Need[],
): Prospect | undefined {
  const wanted: Task[] = [];
  const stopping: Task[] = [];
  for (const member of view.members.values()) {
    if (member.spec.priority >= task.spec.priority) continue;
    if (member.version === 0) continue; // is only being created: cannot be told anything yet
    const standing = standingOf(member);
    // an update that raises the priority must not take away what still serves
    if (standing === 'wanted' && member.serviceId !== task.serviceId) wanted.push(member);
    else if (standing === 'stopping') stopping.push(member);
  }
  if (wanted.length === 0 && stopping.length === 0) return undefined;
  let atLeast = 0;
  for (const need of needs) {
    const ending = stopping.reduce((sum, t) => sum + need.heldBy(t), 0);
    const count = countToCover(need.needed - need.freeOn(view) - ending, wanted.map(need.heldBy));
    if (count === undefined) return undefined;
    atLeast = Math.max(atLeast, count);
  }
  return { view, wanted: wanted.sort(byCost), stopping, atLeast };
}

function byCost(a: Task, b: Task): number {
  return (
    a.spec.priority - b.spec.priority || b.createdAtMs - a.createdAtMs || (a.id < b.id ? -1 : 1)
  );
}

/** How many of the amounts, the largest first, cover what is missing. */
function countToCover(missing: number, amounts: readonly number[]): number | undefined {
  if (missing <= 0) return 0;
  let left = missing;
  let count = 0;
  for (const amount of [...amounts].sort((a, b) => b - a)) {
    left -= amount;
    count++;
    if (left <= 0) return count;
  }
  return undefined;
}
