/**
 * The scheduler: which node each pending task goes to, or why none takes it. All of it is pure.
 *
 *   SchedulerState   what there is: nodes with what is free (NodeView), counters by topology
 *        │           (Counters), tasks that wait; fed with changes, see state.ts
 *   Pass             takes the classes of equal tasks by priority, one after the other:
 *        │
 *   PlacementRequest what a class asks for, parsed once (request.ts: constraint, affinity, taints)
 *   Candidates       the checks and wishes of that class on the state as it is:
 *        │             filters/static-filters    ready, constraints, platform, taints, networks
 *        │             filters/room-filters      resources, host ports, tasks per node
 *        │             filters/affinity-filters  near to, and apart from, other services
 *        │             filters/spread-filter     at most so many more on one label than on another
 *        │             rank, wishes              which of two nodes is better
 *   Picker           finds the best node for the next task of the class: the least loaded one for a
 *        │           few plain tasks, a heap of nodes for many, bins of nodes with a heap each where
 *        │           labels are spread over
 *        ├─ found:   the task is assigned, in the state at once and in the plan
 *        ├─ none:    preemption looks for a node where tasks of lower priority can give way
 *        └─ nor so:  explain says how many nodes each filter rules out, and what would help
 *
 * A named volume rules out no node: nodes do not report volumes, and each makes one that a task
 * names when it is not there. Data that is on one node needs a constraint that says so.
 */
import type { Task } from '../../../common/model/objects.js';
import { EMPTY_PLAN } from '../plan-context.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { Pass } from './pass.js';
import { standingOf } from './standing.js';
import { SchedulerState } from './state.js';

/** The tasks that wait for a node, or for the word that their node has room. */
export function pendingTasks(snapshot: Snapshot): Task[] {
  const pending: Task[] = [];
  for (const task of snapshot.tasks()) if (standingOf(task) === 'pending') pending.push(task);
  return pending;
}

/**
 * Gives each pending task a node, or a message that says why none fits. Each task is a group of its
 * own in the plan, so one stale task holds up no other.
 */
export function planSchedule(snapshot: Snapshot, pending: readonly Task[], nowMs: number): Plan {
  const waiting = pending.filter((task) => standingOf(task) === 'pending');
  if (waiting.length === 0) return EMPTY_PLAN;
  return planPending(SchedulerState.of(snapshot), nowMs, waiting);
}

/**
 * The same on a state that is kept. What is decided shows in it from now on, as if it were written:
 * whoever does not write it, or only in part, puts the tasks into it as they are stored.
 */
export function planPending(
  state: SchedulerState,
  nowMs: number,
  pending: readonly Task[] = state.pending(),
): Plan {
  if (pending.length === 0) return EMPTY_PLAN;
  const pass = new Pass(state, nowMs);
  const changed = pass.run(pending);
  return {
    groups: changed.map((object): Change[] => [{ action: 'update', kind: 'task', object }]),
    ...(pass.rewordInMs === undefined ? {} : { requeueAfterMs: pass.rewordInMs }),
  };
}
