import type { Service, Task } from '../../../common/model/objects.js';
import type { ServiceStatus } from '../../../proto/gen/hatoba/v1/types.js';
import { concurrencyOf } from '../../../common/model/service-modes.js';
import { nodesOf } from '../orchestrator/node-standing.js';
import { isDone, isLost, isRunning, isWantedTask } from '../orchestrator/slots.js';
import type { Snapshot } from '../snapshot.js';

/**
 * How far a service has got. Tasks of a global service on nodes that are down are neither running nor
 * desired; of a job, `desiredTasks` are those that may run at once, for a global one those that have
 * not completed yet.
 */
export function serviceStatusOf(snapshot: Snapshot, service: Service): ServiceStatus {
  const tasks = snapshot.tasksOfService(service.id);
  const done = tasks.filter((t) => isDone(t) && t.jobIteration === service.jobStatus?.iteration);
  return {
    runningTasks: tasks.filter((t) => serves(snapshot, t)).length,
    desiredTasks: service.pendingDelete ? 0 : desiredTasksOf(snapshot, service, done),
    completedTasks: done.length,
  };
}

function serves(snapshot: Snapshot, task: Task): boolean {
  return isRunning(task) && isWantedTask(task) && !isLost(snapshot, task);
}

/** How many tasks a service is to have at the same time. */
export function desiredTasksOf(
  snapshot: Snapshot,
  service: Service,
  done: readonly Task[] = [],
): number {
  const { mode } = service.spec;
  switch (mode.$case) {
    case 'replicated':
      return mode.value.replicas;
    case 'replicatedJob':
      return concurrencyOf(mode.value);
    case 'global':
      return nodesOf(snapshot, service).length;
    case 'globalJob': {
      const doneOn = new Set(done.map((t) => t.nodeId));
      return nodesOf(snapshot, service).filter((n) => !doneOn.has(n.id)).length;
    }
  }
}
