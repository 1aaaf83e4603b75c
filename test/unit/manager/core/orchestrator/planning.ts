import type { Node, Service, Task } from '../../../../../common/model/objects.js';
import { placeOf } from '../../../../../common/model/task-place.js';
import { planReplicated } from '../../../../../manager/core/orchestrator/plan-replicated.js';
import type { Plan } from '../../../../../manager/core/snapshot.js';
import { TaskState, type Task as TaskMessage } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

/** When all plans of these tests are made. */
export const NOW = T0 + 60_000;

export function plan(
  service: Service,
  tasks: readonly Task[],
  nodes: readonly Node[] = [aNode()],
): Plan {
  let ids = 0;
  const snapshot = snapshotOf({ services: [service], tasks, nodes });
  return planReplicated(snapshot, service.id, { nowMs: NOW, newId: () => `new${++ids}` });
}

export function web(replicas: number, some: Some<Service> = {}): Service {
  return aService({
    ...some,
    spec: { ...some.spec, mode: { $case: 'replicated', value: { replicas } } },
  });
}

export function running(slot: number, some: Some<TaskMessage> = {}): Task {
  const status = { state: TaskState.RUNNING, runningAtMs: T0, ...some.status };
  return aTask({ slot, nodeId: 'n1', ...some, status });
}

/** "update t-web-1-1 SHUTDOWN", "create 1.2 READY +5000" */
export function summary({ groups }: Plan): string[] {
  return groups.flat().map(({ action, kind, object }) => {
    if (kind !== 'task') return `${action} ${kind}`;
    const desired = object.desiredState.replace('TASK_STATE_', '');
    if (action === 'update') return `update ${object.id} ${desired}`;
    const delay = object.startAfterMs === 0 ? '' : ` +${object.startAfterMs - NOW}`;
    return `${action} ${placeOf(object)}.${object.generation} ${desired}${delay}`;
  });
}

/** "t-web-1-1: n2 is drained" of what changes, "1.2: n2 is drained" of what is made. */
export function reasons({ groups }: Plan): string[] {
  return groups.flat().flatMap(({ action, kind, object }) => {
    if (kind !== 'task') return [];
    if (action === 'update') return `${object.id}: ${object.desiredReason}`;
    return `${placeOf(object)}.${object.generation}: ${object.cause}`;
  });
}

/** The tasks a plan makes. */
export function created({ groups }: Plan): Task[] {
  return groups
    .flat()
    .flatMap((c) => (c.action === 'create' && c.kind === 'task' ? [c.object] : []));
}
