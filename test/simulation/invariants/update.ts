import type { Service, Task } from '../../../common/model/objects.js';
import { placeOf } from '../../../common/model/task-place.js';
import { isTerminal, rankOf } from '../../../common/model/task-state.js';
import { equalData } from '../../../manager/core/equal.js';
import { isLost, isWantedTask } from '../../../manager/core/orchestrator/slots.js';
import { TaskState, UpdateState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';
import { nameOf } from './ownership.js';

/** An update replaces no more tasks at once than it may. */
export class UpdateParallelism implements Invariant {
  check(commit: Commit, { view }: Facts): void {
    for (const change of commit.changes) {
      if (change.kind !== 'task' || change.type === 'delete') continue;
      if (change.previous !== undefined) continue;
      const service = view.service(change.object.serviceId);
      if (service === undefined) continue;
      const parallelism = parallelismOf(service);
      if (parallelism === 0) continue;
      const tasks = view.tasksOfService(service.id);
      if (!isUpdating(change.object, service, tasks)) continue;
      const since = change.object.createdAtMs - deadlineOf(service); // later ones have had their time
      const atOnce = tasks
        .filter((t) => isUpdating(t, service, tasks) && t.createdAtMs > since)
        .filter((t) => !isLost(view, t)); // nobody waits for a node out of reach
      if (atOnce.length <= parallelism) continue;
      throw new Violation(
        'parallelism',
        `${atOnce.map(nameOf).join(', ')} are replaced at once, ${parallelism} may be`,
      );
    }
  }
}

/** Within how many ms a task of an update has to come up; then it holds up no other. */
function deadlineOf({ spec }: Service): number {
  const { progressDeadlineMs = Infinity } = spec.updateConfig;
  return Math.min(progressDeadlineMs, spec.rollbackConfig.progressDeadlineMs ?? Infinity);
}

/** 0: any number, or no update is under way. */
function parallelismOf({ spec, updateStatus }: Service): number {
  if (updateStatus?.state === UpdateState.UPDATING) return spec.updateConfig.parallelism;
  if (updateStatus?.state === UpdateState.ROLLBACK_STARTED) return spec.rollbackConfig.parallelism;
  return 0;
}

/** A task of the present spec that was made for one of another, and has not come up yet. */
function isUpdating(task: Task, service: Service, tasks: readonly Task[]): boolean {
  if (task.specVersion !== service.specVersion || !isWantedTask(task)) return false;
  const { state } = task.status;
  if (isTerminal(state) || rankOf(state) >= rankOf(TaskState.RUNNING)) return false;
  const isFirst = !tasks.some(
    (t) => t.id !== task.id && placeOf(t) === placeOf(task) && t.specVersion === task.specVersion,
  );
  if (!isFirst) return false; // the place was updated before; this is another try
  const replaced = tasks.find((t) => t.id === task.replacesTaskId);
  if (replaced === undefined || replaced.specVersion === task.specVersion) return false;
  return !equalData(replaced.spec, task.spec);
}
