import type { Task } from '../../../common/model/objects.js';
import { placeOf, type Place } from '../../../common/model/task-place.js';
import { isTerminal, isWanted, rankOf } from '../../../common/model/task-state.js';
import { NodeState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';

/**
 * The stable place of one replica, or of a global service's task, and the tasks it has had, in order
 * of generation.
 */
export interface Slot {
  readonly place: Place;
  readonly tasks: readonly Task[];
}

/** Whether the task holds nothing any more: its container has ended, or no node ever got it. */
export function hasEnded(task: Task): boolean {
  return isTerminal(task.status.state) || (!isAssigned(task) && !isWanted(task.desiredState));
}

/**
 * Whether the scheduler has given the task to its node. A global service's task names its node from
 * the start, but the node is not told of it before.
 */
export function isAssigned(task: Task): boolean {
  return rankOf(task.status.state) >= rankOf(TaskState.ASSIGNED);
}

/** Whether the task is meant to run, now or after a delay, whatever has become of it. */
export function isWantedTask(task: Task): boolean {
  return isWanted(task.desiredState);
}

/** Whether the task is meant to run and does, or is on its way there. */
export function isLive(task: Task): boolean {
  return isWantedTask(task) && !isTerminal(task.status.state);
}

/** Whether a job's task has done its work: it is never replaced. */
export function isDone(task: Task): boolean {
  return task.jobIteration > 0 && task.status.state === TaskState.COMPLETE;
}

export function isRunning(task: Task): boolean {
  return task.status.state === TaskState.RUNNING;
}

/**
 * Whether the task is on a node that nobody can reach, or that was removed: it may be running there or
 * not, and nothing of it can be waited for.
 */
export function isLost(snapshot: Snapshot, { nodeId }: Pick<Task, 'nodeId'>): boolean {
  if (nodeId === '') return false;
  const node = snapshot.node(nodeId);
  return node === undefined || node.status.state === NodeState.DOWN;
}

/** Whether the slot holds a place among the replicas: not all of its tasks are to be removed. */
export function isOccupied(slot: Slot): boolean {
  return slot.tasks.some((t) => t.desiredState !== TaskState.REMOVE);
}

/**
 * A service's tasks by place. Expects them in order of place, then generation.
 * @param least slots with fewer tasks are left out
 */
export function slotsOf(tasks: readonly Task[], least = 1): Slot[] {
  const slots: Slot[] = [];
  let start = 0;
  for (let end = 1; end <= tasks.length; end++) {
    const first = tasks[start];
    const next = tasks[end];
    if (first === undefined || (next !== undefined && placeOf(next) === placeOf(first))) continue;
    if (end - start >= least) slots.push({ place: placeOf(first), tasks: tasks.slice(start, end) });
    start = end;
  }
  return slots;
}
