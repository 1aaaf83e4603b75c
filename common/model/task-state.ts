import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { InvariantError } from '../errors.js';

/** The order of observed states; the numbers are those of the proto enum. */
const RANK: Readonly<Record<TaskState, number>> = {
  [TaskState.NEW]: 0,
  [TaskState.PENDING]: 64,
  [TaskState.ASSIGNED]: 192,
  [TaskState.ACCEPTED]: 256,
  [TaskState.PREPARING]: 320,
  [TaskState.READY]: 384,
  [TaskState.STARTING]: 448,
  [TaskState.RUNNING]: 512,
  [TaskState.COMPLETE]: 576,
  [TaskState.SHUTDOWN]: 640,
  [TaskState.FAILED]: 704,
  [TaskState.REJECTED]: 768,
  [TaskState.REMOVE]: 800,
  [TaskState.ORPHANED]: 832,
};

export function rankOf(state: TaskState): number {
  return RANK[state];
}

/** Whether a task in this observed state has ended for good and holds nothing any more. */
export function isTerminal(state: TaskState): boolean {
  return RANK[state] > RANK[TaskState.RUNNING];
}

const OWN_ENDINGS: ReadonlySet<TaskState> = new Set([
  TaskState.COMPLETE,
  TaskState.FAILED,
  TaskState.REJECTED,
]);

/** Whether a task ended by itself, rather than because it was told to or its node was lost. */
export function endedByItself(task: { readonly status: { readonly state: TaskState } }): boolean {
  return OWN_ENDINGS.has(task.status.state);
}

/** Whether the desired state asks for a running container, now or after a delay. */
export function isWanted(desired: TaskState): boolean {
  return RANK[desired] <= RANK[TaskState.COMPLETE];
}

/** @throws {InvariantError} when an observed state would go back */
export function checkTransition(from: TaskState, to: TaskState): void {
  if (RANK[to] < RANK[from])
    throw new InvariantError(`task state may not go from ${from} to ${to}`);
}
