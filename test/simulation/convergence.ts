import type { Service, Task } from '../../common/model/objects.js';
import { isWanted, rankOf } from '../../common/model/task-state.js';
import { planAllocation } from '../../manager/core/allocator/plan-allocation.js';
import { planService } from '../../manager/core/orchestrator/plan-service.js';
import { hasEnded, isLost } from '../../manager/core/orchestrator/slots.js';
import { planReap } from '../../manager/core/plan-reap.js';
import { pendingTasks, planSchedule } from '../../manager/core/scheduler/schedule.js';
import type { Change } from '../../manager/core/snapshot.js';
import type { View } from '../../manager/view/view.js';
import {
  NodeState,
  RestartCondition,
  TaskState,
  UpdateState,
} from '../../proto/gen/hatoba/v1/types.js';
import { nameOf } from './invariants/ownership.js';
import type { SimCluster } from './world/cluster.js';
import { lifeOf } from './world/images.js';
import type { SimHost } from './world/sim-host.js';

/**
 * What is not yet as it is to be once nothing goes wrong any more; empty when all is: everybody is
 * there, every service has what it asks for or says why not, machines run just what the store says, and
 * no loop of the managers has anything left to do.
 */
export function unsettled(cluster: SimCluster): string[] {
  const { view, leader } = cluster.truth;
  if (leader === undefined) return ['nobody leads'];
  const astray = nodesAstray(cluster);
  if (astray.length > 0) return astray;
  return [
    ...[...view.services()].flatMap((service) => ofService(service, view)),
    ...leftovers(view),
    ...cluster.hosts.flatMap((host) => (host.isDead ? [] : ofHost(host, view))),
    ...stillPlanned(view, Math.floor(cluster.timeline.nowMs())),
  ];
}

/** Nodes that are not ready though they run, or the other way round. */
function nodesAstray({ hosts, truth: { view } }: SimCluster): string[] {
  return hosts.flatMap(({ name, isDead }) => {
    const node = view.node(name);
    if (node === undefined) return isDead ? [] : [`node ${name} has not come`];
    const { state } = node.status;
    const wanted = isDead ? NodeState.DOWN : NodeState.READY;
    return state === wanted ? [] : [`node ${name} is ${state}`];
  });
}

/** Whether tasks of the service come up and stay. */
export function isGood({ spec }: Pick<Service, 'spec'>): boolean {
  return lifeOf(spec.taskTemplate.containerSpec.image).isGood === true;
}

const UNDER_WAY: readonly UpdateState[] = [UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED];
const PAUSED: readonly UpdateState[] = [UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED];

function ofService(service: Service, view: View): string[] {
  if (service.pendingDelete) return [`service ${service.spec.name} is still there`];
  const tasks = view.tasksOfService(service.id);
  const waiting = tasks.filter((t) => isWanted(t.desiredState) && isWaiting(t));
  const silent = waiting.filter(({ status }) => status.message === '' && status.err === '');
  return [
    ...silent.map((task) => `${nameOf(task)} waits without a word`),
    ...ofUpdate(service),
    ...ofReplicas(service, tasks, waiting.length),
  ];
}

function ofUpdate(service: Service): string[] {
  const { updateStatus, spec } = service;
  const state = updateStatus?.state ?? UpdateState.UNKNOWN;
  if (UNDER_WAY.includes(state)) return [`the update of ${spec.name} goes on`];
  if (!PAUSED.includes(state) || updateStatus?.message !== '') return [];
  return [`the update of ${spec.name} is paused without a word`];
}

function ofReplicas(service: Service, tasks: readonly Task[], waiting: number): string[] {
  const { mode, name } = service.spec;
  const isPaused = PAUSED.includes(service.updateStatus?.state ?? UpdateState.UNKNOWN);
  if (mode.$case !== 'replicated' || isPaused || !isGood(service) || hasLimit(service)) return [];
  const running = tasks.filter(
    (t) => t.desiredState === TaskState.RUNNING && t.status.state === TaskState.RUNNING,
  );
  const isOldWaiting = waiting > 0 && tasks.some((t) => isWanted(t.desiredState) && !isSteady(t));
  if (running.length + waiting >= mode.value.replicas || isOldWaiting) return [];
  return [`${name} has ${running.length} of ${mode.value.replicas}`];
}

/** Whether tasks may have ended for good. */
function hasLimit({ spec }: Service): boolean {
  const { condition, maxAttempts } = spec.taskTemplate.restartPolicy;
  return condition !== RestartCondition.ANY || maxAttempts > 0;
}

function isSteady({ spec }: Task): boolean {
  return lifeOf(spec.containerSpec.image).isGood === true;
}

/** No node for it, or no address. */
function isWaiting({ status }: Task): boolean {
  return rankOf(status.state) < rankOf(TaskState.ASSIGNED);
}

function leftovers(view: View): string[] {
  const tasks = [...view.tasks()].filter(
    (t) => !isWanted(t.desiredState) && !hasEnded(t) && !isLost(view, t),
  );
  const removed = [...view.networks(), ...view.stacks()].filter((o) => o.pendingDelete);
  return [
    ...tasks.map((t) => `${nameOf(t)} is not wanted and in state ${t.status.state}`),
    ...removed.map((o) => `${o.spec.name} is still there`),
  ];
}

/** The machine runs what the store says and nothing else. Of those that come and go, nothing is said. */
function ofHost(host: SimHost, view: View): string[] {
  const running = new Set(host.running());
  const problems: string[] = [];
  for (const task of view.tasksOfNode(host.name)) {
    if (!isSteady(task)) continue;
    const isToRun = task.status.state === TaskState.RUNNING;
    if (isToRun !== running.has(task.id) && task.status.state !== TaskState.STARTING) {
      problems.push(
        `${nameOf(task)} is ${task.status.state} but ${isToRun ? 'does not run' : 'runs'} on ${host.name}`,
      );
    }
  }
  for (const taskId of [...host.machine.containers.keys(), ...host.disk.tasks.keys()]) {
    if (view.task(taskId)?.nodeId !== host.name) problems.push(`${taskId} is left on ${host.name}`);
  }
  return problems;
}

/** What the loops would write if they looked: they should have. Of services that churn, nothing is said. */
function stillPlanned(view: View, nowMs: number): string[] {
  if ([...view.services()].some((s) => !isGood(s))) return [];
  const context = { nowMs, newId: () => 'new' };
  const plans = [
    ...[...view.services()].map((s) => [s.spec.name, planService(view, s.id, context)] as const),
    ['allocation', planAllocation(view, nowMs, new Map()).plan] as const,
    ['schedule', planSchedule(view, pendingTasks(view), nowMs)] as const,
    ['reap', planReap(view, nowMs)] as const,
  ];
  return plans.flatMap(([name, plan]) => {
    const steps = plan.groups.filter((group) => group.some((change) => isStep(change, view)));
    return steps.length === 0 ? [] : [`${name} has ${steps.length} steps to make`];
  });
}

/** Not what only words differently why a task waits, as it may with every other task that comes. */
function isStep({ action, kind, object }: Change, view: View): boolean {
  if (action !== 'update' || kind !== 'task') return true;
  const before = view.task(object.id);
  const isSameWish = before?.desiredState === object.desiredState;
  return !isSameWish || before.status.state !== object.status.state;
}
