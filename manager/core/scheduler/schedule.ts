import type { Task } from '../../../common/model/objects.js';
import { isWanted } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { groupBy } from '../group-by.js';
import { EMPTY_PLAN } from '../plan-context.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { explainUnplaceable } from './explain.js';
import { DYNAMIC_FILTERS, STATIC_FILTERS, type Filter } from './filters.js';
import { LoadOrder } from './load-order.js';
import { viewNodes, type NodeView } from './node-view.js';
import {
  FewPicker,
  HeapPicker,
  ScanPicker,
  SlotCounter,
  SpreadPicker,
  type Picker,
} from './picker.js';
import { requestOf, type PlacementRequest } from './request.js';

/** Up to this many tasks of a group, looking for each alone is cheaper than building a heap. */
const FEW_TASKS = 4;

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
  const pass = new Pass(snapshot, nowMs);
  const groups = groupBy(waiting, (t) => `${t.serviceId} ${t.specVersion}`);
  const changes: Change[][] = [];
  for (const tasks of groups.values()) {
    for (const task of pass.place(tasks)) {
      changes.push([{ action: 'update', kind: 'task', object: task }]);
    }
  }
  return { groups: changes };
}

/** One look at the nodes, and the placements made since. */
class Pass {
  readonly #snapshot: Snapshot;
  readonly #nowMs: number;
  readonly #views: readonly NodeView[];
  readonly #byLoad: LoadOrder;

  constructor(snapshot: Snapshot, nowMs: number) {
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
    this.#views = viewNodes(snapshot, nowMs);
    this.#byLoad = new LoadOrder(this.#views);
  }

  /**
   * @param tasks of one service and spec
   * @returns those that changed, as they are to be stored
   */
  place(tasks: readonly Task[]): Task[] {
    const [first] = tasks;
    if (first === undefined) return [];
    const request = requestOf(first);
    const picker = this.#pickerFor(request, tasks.length);
    const changed: Task[] = [];
    let message: string | undefined;
    for (const task of tasks) {
      const view = picker.pick(task);
      if (view !== undefined) {
        this.#byLoad.update(view);
        changed.push(assigned(task, view, this.#nowMs));
        continue;
      }
      message ??= explainUnplaceable(request, this.#views, [...STATIC_FILTERS, ...DYNAMIC_FILTERS]);
      if (task.status.message !== message) {
        const status = { ...task.status, message, timestampMs: this.#nowMs };
        changed.push({ ...task, status });
      }
    }
    return changed;
  }

  #pickerFor(request: PlacementRequest, tasks: number): Picker {
    const statics = STATIC_FILTERS.filter((f) => f.appliesTo(request));
    const dynamics = DYNAMIC_FILTERS.filter((f) => f.appliesTo(request));
    const isEligible = passesAll(statics, request);
    const fits = passesAll(dynamics, request);
    const eligible = (): NodeView[] => this.#views.filter(isEligible);
    if (request.task.spec.placement.maxReplicas > 0) {
      return limitedPicker(this.#snapshot, eligible(), request, dynamics);
    }
    if (request.spreadKeys.length > 0) return new SpreadPicker(eligible(), request, fits);
    if (tasks > FEW_TASKS) return new HeapPicker(eligible(), request, fits);
    return new FewPicker(this.#byLoad, request, (v) => isEligible(v) && fits(v), eligible);
  }
}

function passesAll(
  filters: readonly Filter[],
  request: PlacementRequest,
): (view: NodeView) => boolean {
  return (view) => filters.every((f) => f.check(view, request));
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
