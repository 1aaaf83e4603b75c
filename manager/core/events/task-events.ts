import type { Task } from '../../../common/model/objects.js';
import { isTerminal, isWanted, rankOf } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { haveSameReasons } from '../scheduler/reasons.js';
import { labelOf, taskEvent, type Happening, type Names, type NewEvent } from './new-event.js';

/**
 * What the change of a task says, in the order in which it came about. States in between may have
 * been passed unseen.
 * @param before undefined: it is new, or was not seen before
 */
export function eventsOfTask(before: Task | undefined, after: Task, names: Names): NewEvent[] {
  return [
    created(before, after),
    unplaced(before, after),
    placed(before, after, names),
    stopping(before, after),
    entered(before, after, names),
  ].flatMap((what) => (what === undefined ? [] : taskEvent(after, names, what)));
}

/** Tasks that were to be removed; those that only leave the history of their slot are no news. */
export function eventsOfRemovedTask(task: Task, names: Names): NewEvent[] {
  if (task.desiredState !== TaskState.REMOVE) return [];
  const what = { reason: 'Removed', message: task.desiredReason, atMs: task.desiredSinceMs };
  return [taskEvent(task, names, what)];
}

function created(before: Task | undefined, { cause, createdAtMs }: Task): Happening | undefined {
  if (before !== undefined) return undefined;
  return { reason: 'Created', message: cause, atMs: createdAtMs };
}

/** What a task says that waits in the usual way. */
const USUAL: ReadonlySet<string> = new Set(['', 'created', 'waits for a node']);

function unplaced(before: Task | undefined, { status }: Task): Happening | undefined {
  const { state, message, timestampMs: atMs } = status;
  if (rankOf(state) >= rankOf(TaskState.ASSIGNED)) return undefined;
  if (USUAL.has(message)) return undefined;
  if (before !== undefined && haveSameReasons(before.status.message, message)) return undefined;
  const reason = state === TaskState.PENDING ? 'Unplaceable' : 'Unallocated';
  return { reason, message, atMs, isWarning: true };
}

function placed(before: Task | undefined, after: Task, names: Names): Happening | undefined {
  const isNew = !isPlaced(before) && isPlaced(after);
  if (!isNew || after.nodeId === '') return undefined;
  const message = `on ${labelOf(after.nodeId, names)}`;
  return { reason: 'Placed', message, atMs: after.status.timestampMs };
}

function isPlaced(task: Task | undefined): boolean {
  return task !== undefined && rankOf(task.status.state) >= rankOf(TaskState.ASSIGNED);
}

/** Told to end while it was alive. */
function stopping(before: Task | undefined, after: Task): Happening | undefined {
  const wasWanted = before === undefined || isWanted(before.desiredState);
  if (!wasWanted || isWanted(after.desiredState) || after.nodeId === '') return undefined;
  if (isTerminal((before ?? after).status.state)) return undefined;
  return { reason: 'Stopping', message: after.desiredReason, atMs: after.desiredSinceMs };
}

/** The state it is in, if it is a new one that people ask about. */
function entered(before: Task | undefined, after: Task, names: Names): Happening | undefined {
  const { state, timestampMs, runningAtMs } = after.status;
  if (state === before?.status.state) return undefined;
  const said = WORDS[state];
  if (said === undefined) return undefined;
  const atMs = state === TaskState.RUNNING ? runningAtMs : timestampMs;
  const message =
    state === TaskState.RUNNING ? `on ${labelOf(after.nodeId, names)}` : endingOf(after);
  return { ...said, message, atMs };
}

const WORDS: Partial<Record<TaskState, { reason: string; isWarning: boolean }>> = {
  [TaskState.RUNNING]: { reason: 'Running', isWarning: false },
  [TaskState.COMPLETE]: { reason: 'Completed', isWarning: false },
  [TaskState.SHUTDOWN]: { reason: 'Stopped', isWarning: false },
  [TaskState.FAILED]: { reason: 'Failed', isWarning: true },
  [TaskState.REJECTED]: { reason: 'Rejected', isWarning: true },
  [TaskState.ORPHANED]: { reason: 'Orphaned', isWarning: true },
};

/** Why it ended, with the exit code where that says more. */
function endingOf({ status, desiredReason }: Task): string {
  const { state, err, message, containerStatus } = status;
  if (state === TaskState.SHUTDOWN && err === '') return desiredReason;
  const why = err === '' ? message : err;
  const { exitCode } = containerStatus;
  if (exitCode === undefined || exitCode === 0 || new RegExp(`\\b${exitCode}\\b`).test(why)) {
    return why;
  }
  return why === '' ? `exit code ${exitCode}` : `${why} (exit code ${exitCode})`;
}
