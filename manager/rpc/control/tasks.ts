import { STACK_LABEL } from '../../../common/model/labels.js';
import type { Task } from '../../../common/model/objects.js';
import { comparePlaces, placeOf } from '../../../common/model/task-place.js';
import { isTerminal, isWanted, rankOf } from '../../../common/model/task-state.js';
import { NodeState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../../core/snapshot.js';
import { nodeLabel } from '../agents.js';
import type { ControlMethods, ControlModules } from './methods.js';

export function taskMethods(modules: ControlModules): ControlMethods<'listTasks' | 'getTask'> {
  const { view } = modules.cluster;
  const shown = (task: Task): Task => whileItWaits(modules, onLostNode(view, task));
  return {
    listTasks: (request) => {
      const serviceId =
        request.service === '' ? undefined : view.findByPrefix('service', request.service).id;
      const nodeId = request.node === '' ? undefined : view.findByPrefix('node', request.node).id;
      const inScope = (serviceId === undefined ? [...view.tasks()] : view.tasksOfService(serviceId))
        // The filter by node comes last: what a slot shows does not depend on where it ran before.
        .filter((t) => request.stack === '' || stackOf(t) === request.stack);
      const tasks = (request.history ? [...inScope] : presentTasks(inScope))
        .filter((t) => nodeId === undefined || t.nodeId === nodeId)
        .sort(compareForPeople)
        .map(shown);
      return Promise.resolve({ tasks });
    },
    getTask: (request) => Promise.resolve(shown(view.findByPrefix('task', request.task))),
  };
}

/** With what the last report of a node that is lost cannot say; never stored. */
function onLostNode(snapshot: Snapshot, task: Task): Task {
  if (task.nodeId === '' || isTerminal(task.status.state) || task.status.err !== '') return task;
  const node = snapshot.node(task.nodeId);
  if (node !== undefined && node.status.state !== NodeState.DOWN) return task;
  const what = node === undefined ? 'was removed' : 'is down';
  const label = node === undefined ? task.nodeId : nodeLabel(node);
  const err = `node ${label} ${what}: whether the container still runs is not known`;
  return { ...task, status: { ...task.status, err } };
}

/** With what its order waits for, which its node cannot tell as it has not been given it. */
function whileItWaits({ networks }: ControlModules, task: Task): Task {
  const message = networks.networkWaitOf(task.id);
  return message === '' ? task : { ...task, status: { ...task.status, message } };
}

/**
 * What stands for each slot at present: its newest task, if that is wanted or failed; other tasks
 * that are wanted and have not ended (an update that starts first has two); and while the newest
 * does not run yet, the last failure before it, which says why it is there.
 */
export function presentTasks(tasks: Iterable<Task>): Task[] {
  const slots = new Map<string, Task[]>();
  for (const task of tasks) {
    const key = `${task.serviceId} ${placeOf(task)}`;
    const slot = slots.get(key);
    if (slot === undefined) slots.set(key, [task]);
    else slot.push(task);
  }
  return [...slots.values()].flatMap((slot) => {
    const [newest, ...older] = slot.sort((a, b) => b.generation - a.generation);
    if (newest === undefined || !(isWanted(newest.desiredState) || hasFailed(newest))) return [];
    const isUp = rankOf(newest.status.state) >= rankOf(TaskState.RUNNING);
    const lastFailure = isUp ? undefined : older.find(hasFailed);
    return [newest, ...older.filter((t) => t === lastFailure || isAtWork(t))];
  });
}

function isAtWork(task: Task): boolean {
  return isWanted(task.desiredState) && !isTerminal(task.status.state);
}

function hasFailed(task: Task): boolean {
  const { state } = task.status;
  return state === TaskState.FAILED || state === TaskState.REJECTED || state === TaskState.ORPHANED;
}

export function stackOf(task: Task): string | undefined {
  return task.serviceLabels[STACK_LABEL];
}

/** By service name and place, the newest of a place first. */
function compareForPeople(a: Task, b: Task): number {
  if (a.serviceName !== b.serviceName) return a.serviceName < b.serviceName ? -1 : 1;
  return comparePlaces(placeOf(a), placeOf(b)) || b.generation - a.generation;
}
