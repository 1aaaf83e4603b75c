import type { Task } from '../../../common/model/objects.js';
import { isWanted } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { groupBy } from '../group-by.js';
import { EMPTY_PLAN } from '../plan-context.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { explainUnplaceable } from './explain.js';
import { DYNAMIC_FILTERS, STATIC_FILTERS, type Filter } from './filters.js';
import { viewNodes, type NodeView } from './node-view.js';
import { HeapPicker, ScanPicker, SlotCounter, SpreadPicker, type Picker } from './picker.js';
import { requestOf, type PlacementRequest } from './request.js';

/** Up to this many tasks of a group, looking at every node is cheaper than building a heap. */
const SCAN_LIMIT = 2;

/** The tasks that wait for a node. */
export function pendingTasks(snapshot: Snapshot): Task[] {
  const pending: Task[] = [];
  for (const task of snapshot.tasks()) {
    if (isUnassigned(task)) pending.push(task);
  }
  return pending;
}

function isUnassigned(task: Task): boolean {
  return (
    task.status.state === TaskState.PENDING && task.nodeId === '' && isWanted(task.desiredState)
  );
}

/**
 * Gives each pending task a node, or a message that says why none fits. Equal work is done once:
 * tasks of one service and spec are a group, for which nodes are filtered once and then taken from
 * a heap. Each task is a group of its own in the plan, so one stale task holds up no other. A
 * message is written only where it differs from the one that is there.
 */
export function planSchedule(snapshot: Snapshot, pending: readonly Task[], nowMs: number): Plan {
  const waiting = pending.filter(isUnassigned);
  if (waiting.length === 0) return EMPTY_PLAN;
  const views = viewNodes(snapshot, nowMs);
  const groups = groupBy(waiting, (t) => `${t.serviceId} ${t.specVersion}`);
  const changes: Change[][] = [];
  for (const tasks of groups.values()) {
    for (const task of placeGroup(snapshot, views, tasks, nowMs)) {
      changes.push([{ action: 'update', kind: 'task', object: task }]);
    }
  }
  return { groups: changes };
}

/** @returns the tasks as they are to be stored, those that changed */
function placeGroup(
  snapshot: Snapshot,
  views: readonly NodeView[],
  tasks: readonly Task[],
  nowMs: number,
): Task[] {
  const [first] = tasks;
  if (first === undefined) return [];
  const request = requestOf(first);
  const applicable = (filters: readonly Filter[]): Filter[] =>
    filters.filter((f) => f.appliesTo(request));
  const statics = applicable(STATIC_FILTERS);
  const eligible = views.filter((v) => statics.every((f) => f.check(v, request)));
  const picker = pickerFor(snapshot, eligible, request, tasks.length);
  const placed: Task[] = [];
  let message: string | undefined;
  for (const task of tasks) {
    const view = picker.pick(task);
    if (view !== undefined) {
      placed.push(assigned(task, view, nowMs));
      continue;
    }
    message ??= explainUnplaceable(request, views, [...STATIC_FILTERS, ...DYNAMIC_FILTERS]);
    if (task.status.message !== message) {
      placed.push({ ...task, status: { ...task.status, message, timestampMs: nowMs } });
    }
  }
  return placed;
}

function pickerFor(
  snapshot: Snapshot,
  eligible: readonly NodeView[],
  request: PlacementRequest,
  tasks: number,
): Picker {
  const filters = DYNAMIC_FILTERS.filter((f) => f.appliesTo(request));
  const fits = (view: NodeView): boolean => filters.every((f) => f.check(view, request));
  const { maxReplicas } = request.task.spec.placement;
  if (maxReplicas > 0) return limitedPicker(snapshot, eligible, request, filters);
  if (request.spreadKeys.length > 0) return new SpreadPicker(eligible, request, fits);
  if (tasks <= SCAN_LIMIT) return new ScanPicker(eligible, request, fits);
  return new HeapPicker(eligible, request, fits);
}

/** A limit of replicas per node depends on each task's slot, so every node is looked at. */
function limitedPicker(
  snapshot: Snapshot,
  eligible: readonly NodeView[],
  request: PlacementRequest,
  filters: readonly Filter[],
): Picker {
  const { serviceId, spec } = request.task;
  const counter = new SlotCounter(snapshot, serviceId);
  const others = filters.filter((f) => f.name !== 'max-replicas');
  const picker = new ScanPicker(
    eligible,
    request,
    (view, task) =>
      counter.othersThan(task.slot, view.node.id) < spec.placement.maxReplicas &&
      others.every((f) => f.check(view, request)),
  );
  return {
    pick: (task) => {
      const view = picker.pick(task);
      if (view !== undefined) counter.add(view.node.id, task.slot);
      return view;
    },
  };
}

function assigned(task: Task, view: NodeView, nowMs: number): Task {
  return {
    ...task,
    nodeId: view.node.id,
    status: {
      ...task.status,
      state: TaskState.ASSIGNED,
      timestampMs: nowMs,
      message: `assigned to ${view.name}`,
    },
  };
}
