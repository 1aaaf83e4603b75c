import type { Task } from '../../../common/model/objects.js';
import { placeName } from '../../../common/model/task-place.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { toWord } from '../../../common/model/words.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';

/** "web.2 failed: exit code 1", "web.2 was rejected: image … not found": why a task ended. */
export function endingOf(task: Task): string {
  const { state } = task.status;
  if (!isTerminal(state)) return `${subjectOf(task)} is ${toWord(state)}`;
  const detail = detailOf(task);
  return `${subjectOf(task)} ${VERBS[state] ?? toWord(state)}${detail === '' ? '' : `: ${detail}`}`;
}

/** Of a global service the node is known to whoever reads it, and its id says nothing to people. */
export function subjectOf(task: Task): string {
  return task.slot === 0 ? task.serviceName : placeName(task);
}

const VERBS: Partial<Readonly<Record<TaskState, string>>> = {
  [TaskState.COMPLETE]: 'completed',
  [TaskState.SHUTDOWN]: 'was stopped',
  [TaskState.REJECTED]: 'was rejected',
  [TaskState.ORPHANED]: 'was lost with its node',
};

function detailOf({ status }: Task): string {
  const { err, state, containerStatus } = status;
  if (err !== '' || state !== TaskState.FAILED) return err;
  return containerStatus.exitCode === undefined ? '' : `exit code ${containerStatus.exitCode}`;
}
