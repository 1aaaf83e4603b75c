import { endedByItself } from '../../../common/model/task-state.js';
import type { ReplicatedJob } from '../../../proto/gen/hatoba/v1/types.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Task } from '../../../common/model/objects.js';
import type { ServiceDraft } from './draft.js';
import { concurrencyOf } from '../../../common/model/service-modes.js';
import { planPlaces } from './plan-global.js';
import { planRestarts, promoteReady } from './plan-restart.js';
import { isDone, isWantedTask } from './slots.js';

/**
 * A job runs to its end once for each iteration: slots 1 to `totalCompletions`, `maxConcurrent` at
 * a time, each until one of its tasks has ended well or the restart policy starts no other. What
 * ended well is never replaced, whatever the policy's condition. Nothing rolls: another spec is
 * another iteration, and all of the one before is removed.
 */
export function planReplicatedJob(draft: ServiceDraft, job: ReplicatedJob): void {
  removeFormer(draft);
  planRestarts(draft);
  let room = concurrencyOf(job) - draft.slots().filter((s) => s.tasks.some(isAtWork)).length;
  for (let number = 1; number <= job.totalCompletions && room > 0; number++) {
    const cause = causeOfNext(draft, number);
    if (cause === undefined) continue;
    if (draft.isFull()) break;
    draft.create(number, { cause });
    room--;
  }
  promoteReady(draft);
}

/** A job that runs to its end once on each node, also on those that join later. */
export function planGlobalJob(draft: ServiceDraft): void {
  removeFormer(draft);
  planPlaces(draft);
  planRestarts(draft);
  promoteReady(draft);
}

/** One that failed before its time has the slot until then, see plan-restart.ts. */
function isAtWork(task: Task): boolean {
  return isWantedTask(task) && !isDone(task);
}

function removeFormer(draft: ServiceDraft): void {
  const iteration = draft.service.jobStatus?.iteration ?? 0;
  for (const slot of draft.slots()) {
    for (const task of slot.tasks.filter((t) => t.jobIteration !== iteration)) {
      draft.setDesired(task, TaskState.REMOVE, `iteration ${iteration} of the job began`);
    }
  }
}

/** Why a slot is to have a task; undefined: it has one, is done, or has been given up. */
function causeOfNext(draft: ServiceDraft, number: number): string | undefined {
  const iteration = draft.service.jobStatus?.iteration ?? 0;
  const tasks = draft.slot(number).tasks.filter((t) => t.desiredState !== TaskState.REMOVE);
  const newest = tasks.at(-1);
  if (newest === undefined) return `iteration ${iteration} of the job`;
  if (tasks.some(isWantedTask) || endedByItself(newest)) return undefined;
  return `${newest.serviceName}.${number} was stopped before its end`;
}
