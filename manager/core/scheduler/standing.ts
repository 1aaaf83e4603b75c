import type { Task } from '../../../common/model/objects.js';
import { placeOf } from '../../../common/model/task-place.js';
import { isTerminal, isWanted, rankOf } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';

/**
 * What a task is to the scheduler. `pending`: it waits for a node, or for the word that its node
 * has room; `wanted` and `stopping`: it holds resources of its node, to go on or to end soon;
 * `failed`: it speaks against its node for a while; `none`: it does not matter.
 */
export type Standing = 'pending' | 'wanted' | 'stopping' | 'failed' | 'none';

export function standingOf({ status, desiredState, nodeId }: Task): Standing {
  const { state } = status;
  if (isTerminal(state)) {
    const hasFailed = state === TaskState.FAILED || state === TaskState.REJECTED;
    return hasFailed && nodeId !== '' ? 'failed' : 'none';
  }
  const wanted = isWanted(desiredState);
  if (rankOf(state) >= rankOf(TaskState.ASSIGNED)) return wanted ? 'wanted' : 'stopping';
  return state === TaskState.PENDING && wanted ? 'pending' : 'none';
}

/** Tasks of one service and one version of its spec ask the same of their nodes. */
export function classOf({ serviceId, specVersion }: Task): string {
  return `${serviceId} ${specVersion}`;
}

/** Names the place that a task and those before and after it share, in the whole cluster. */
export function placeKey(task: Task): string {
  return `${task.serviceId}.${placeOf(task)}`;
}
