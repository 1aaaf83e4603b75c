import type { Service, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import {
  isLive,
  isOccupied,
  isLost,
  slotsOf,
  type Slot,
} from '../../../manager/core/orchestrator/slots.js';
import { TaskState, UpdateOrder } from '../../../proto/gen/hatoba/v1/types.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';
import { nameOf } from './ownership.js';

/** Each slot has one task that is to run, two while one takes over from the other; no slot too many. */
export class Slots implements Invariant {
  check(commit: Commit, facts: Facts): void {
    for (const change of commit.changes) {
      if (change.kind !== 'task' || change.type === 'delete') continue;
      const { object: task, previous } = change;
      const service = facts.view.service(task.serviceId);
      if (service === undefined) continue;
      if (isToRun(task) && (previous === undefined || !isToRun(previous))) {
        checkSlot(task, service, facts);
      }
      if (previous === undefined) checkCount(task, service, facts);
    }
  }
}

function isToRun({ desiredState, status }: Task): boolean {
  const isTold = desiredState === TaskState.RUNNING || desiredState === TaskState.COMPLETE;
  return isTold && !isTerminal(status.state);
}

function checkSlot(task: Task, service: Service, { view }: Facts): void {
  const others = view
    .tasksOfService(service.id)
    .filter((t) => t.slot === task.slot && t.id !== task.id && isToRun(t))
    .filter((t) => task.slot !== 0 || t.nodeId === task.nodeId)
    .filter((t) => !isLost(view, t));
  const allowed = mayStartFirst(service) ? 1 : 0;
  if (others.length <= allowed) return;
  const names = [task, ...others].map(nameOf).join(', ');
  throw new Violation('one-per-slot', `${names} are to run in one slot`);
}

/** Whether a service may have two tasks in one slot for a while. */
export function mayStartFirst({ spec, previousSpec }: Service): boolean {
  return [spec, previousSpec].some(
    (s) =>
      s?.updateConfig.order === UpdateOrder.START_FIRST ||
      s?.rollbackConfig.order === UpdateOrder.START_FIRST,
  );
}

function checkCount(task: Task, service: Service, { view }: Facts): void {
  const { mode } = service.spec;
  if (mode.$case === 'replicatedJob') checkConcurrency(task, service, view);
  if (mode.$case !== 'replicated') return;
  const slots = slotsOf(view.tasksOfService(service.id)).filter(isOccupied);
  if (slots.length <= mode.value.replicas) return;
  const isNew = (slots.find((s) => s.tasks.includes(task)) ?? NO_SLOT).tasks.length === 1;
  if (!isNew) return; // a slot too many goes on until it is taken away
  throw new Violation(
    'replicas',
    `${nameOf(task)} makes ${slots.length} of ${mode.value.replicas}`,
  );
}

const NO_SLOT: Pick<Slot, 'tasks'> = { tasks: [] };

/** A job has no more tasks at once than it may; those of a node that was lost are counted no more. */
function checkConcurrency(task: Task, service: Service, view: Facts['view']): void {
  const { mode } = service.spec;
  if (mode.$case !== 'replicatedJob' || mode.value.maxConcurrent === 0) return;
  const live = view
    .tasksOfService(service.id)
    .filter((t) => isLive(t) && t.jobIteration === task.jobIteration)
    .filter((t) => !isLost(view, t));
  if (live.length <= mode.value.maxConcurrent) return;
  throw new Violation('concurrency', `${nameOf(task)} is one of ${live.length} at once`);
}
