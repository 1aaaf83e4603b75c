import type { Service, Task } from '../../common/model/objects.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import type { AllocationState } from './allocator/allocation-state.js';
import { Allocator } from './allocator/allocator.js';
import { planPending } from './scheduler/schedule.js';
import type { SchedulerState } from './scheduler/state.js';
import { MAX_GROUP_CHANGES } from './plan-context.js';
import type { Change, Plan, Snapshot } from './snapshot.js';

/** What there is to give. */
export interface Means {
  readonly allocation: AllocationState;
  readonly scheduler: SchedulerState;
}

/** A plan, and which of its changes show in the states from now on. */
export interface NewTasksPlan {
  readonly plan: Plan;
  readonly allocated: readonly Change[];
  readonly scheduled: readonly Change[];
}

type TaskChange = Extract<Change, { kind: 'task' }>;

/** A service that is just being given its endpoint by another plan is looked at again so soon. */
const LOOK_AGAIN_MS = 50;

/**
 * The steps of a new task in one write: what the orchestrator makes is given addresses and a node
 * before it is written for the first time, by the same rules as tasks that wait. What cannot be
 * given is said in its message, and the allocator or the scheduler takes it up from there. The
 * first tasks of a service come together with its endpoint.
 * @param plan of one service
 */
export function planNewTasks(
  plan: Plan,
  snapshot: Snapshot,
  means: Means,
  nowMs: number,
): NewTasksPlan {
  const [first] = newTasksOf(plan);
  const service = first && snapshot.service(first.serviceId);
  if (service === undefined) return { plan, allocated: [], scheduled: [] };
  if (means.allocation.isUnderWay(service)) {
    const later: Plan = { groups: [], requeueAfterMs: LOOK_AGAIN_MS };
    return { plan: later, allocated: [], scheduled: [] };
  }
  const allocator = new Allocator(snapshot, means.allocation, nowMs);
  const endpoint = allocator.service(service);
  const toWrite = endpoint === undefined ? plan : withEndpoint(plan, endpoint);
  const steps = new NewTasks(allocator, means.scheduler, nowMs);
  return steps.take(toWrite, endpoint);
}

function newTasksOf({ groups }: Plan): Task[] {
  return groups.flat().flatMap((c) => (isNewTask(c) ? [c.object] : []));
}

function isNewTask(change: Change): change is TaskChange {
  return change.action === 'create' && change.kind === 'task';
}

/** As much of a plan as one write with its service can hold; the service is its own guard there. */
function withEndpoint({ groups }: Plan, service: Service): Plan {
  const changes: Change[] = [{ action: 'update', kind: 'service', object: service }];
  for (const group of groups) {
    if (changes.length + group.length > MAX_GROUP_CHANGES) break;
    changes.push(...group);
  }
  return { groups: [changes], requeueAfterMs: 0 };
}

/** Leads the new tasks of one plan through allocator and scheduler. */
class NewTasks {
  readonly #allocator: Allocator;
  readonly #scheduler: SchedulerState;
  readonly #nowMs: number;

  constructor(allocator: Allocator, scheduler: SchedulerState, nowMs: number) {
    this.#allocator = allocator;
    this.#scheduler = scheduler;
    this.#nowMs = nowMs;
  }

  take(plan: Plan, endpoint: Service | undefined): NewTasksPlan {
    const tasks = newTasksOf(plan).map((task) => this.#allocator.task(task) ?? task);
    const result = new Map(tasks.map((task) => [task.id, task]));
    const others: TaskChange[] = [];
    for (const task of this.#place(tasks.filter((t) => t.status.state === TaskState.PENDING))) {
      if (result.has(task.id)) result.set(task.id, task);
      else others.push({ action: 'update', kind: 'task', object: task });
    }
    const created = [...result.values()].map((object): Change => ({
      action: 'create',
      kind: 'task',
      object,
    }));
    const ofService: Change[] =
      endpoint === undefined ? [] : [{ action: 'update', kind: 'service', object: endpoint }];
    return {
      plan: { ...plan, groups: [...groupsWith(plan, result), ...besides(plan, others)] },
      allocated: [...ofService, ...created],
      scheduled: [...created, ...others],
    };
  }

  /** @returns the tasks that changed; also those that give way to others */
  #place(tasks: readonly Task[]): Task[] {
    const highest = Math.max(...tasks.map((t) => t.spec.priority));
    // Whoever waits with a higher priority has the first choice: the scheduler looks at all of them.
    if (this.#scheduler.pending().some((t) => t.spec.priority > highest)) return [];
    const { groups } = planPending(this.#scheduler, this.#nowMs, tasks);
    const changed = groups.flat().flatMap((c) => (c.kind === 'task' ? [c.object] : []));
    const placed = new Set(changed.filter(isPlaced).map((t) => t.id));
    // What waits is the scheduler's from the moment it is seen.
    for (const { id } of tasks) if (!placed.has(id)) this.#scheduler.deleteTask(id);
    return changed;
  }
}

function isPlaced(task: Task): boolean {
  return task.status.state === TaskState.ASSIGNED;
}

/** The plan's own groups, with its new tasks as they have become. */
function groupsWith({ groups }: Plan, tasks: ReadonlyMap<string, Task>): Change[][] {
  return groups.map((group) =>
    group.map((change) => {
      const object = isNewTask(change) ? tasks.get(change.object.id) : undefined;
      return object === undefined ? change : { action: 'create', kind: 'task', object };
    }),
  );
}

/** What is not decided in the plan already: a task that is to stop anyway need not give way. */
function besides({ groups }: Plan, others: readonly Change[]): Change[][] {
  if (others.length === 0) return [];
  const ids = new Set(groups.flat().map((c) => c.object.id));
  return others.filter((c) => !ids.has(c.object.id)).map((change) => [change]);
}
