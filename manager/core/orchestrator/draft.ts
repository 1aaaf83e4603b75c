import type { Service, Task } from '../../../common/model/objects.js';
import { comparePlaces, placeOf, type Place } from '../../../common/model/task-place.js';
import { rankOf } from '../../../common/model/task-state.js';
import { TaskState, type RestartHistory } from '../../../proto/gen/hatoba/v1/types.js';
import { chunkChanges, type PlanContext } from '../plan-context.js';
import { revisionChanges } from '../service/revisions.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { LeaveReasons } from './leave-reasons.js';
import { isJob } from '../../../common/model/service-modes.js';
import { newTask, originOf, type TaskOrigin } from './new-task.js';
import {
  hasEnded,
  isLost,
  isOccupied,
  isRunning,
  isWantedTask,
  slotsOf,
  type Slot,
} from './slots.js';
import { SpecComparison } from './spec-comparison.js';

/** So many tasks are planned and written at once: other services have their turn in between. */
const MAX_NEW_TASKS = 4000;

export interface CreateOptions {
  /** Why the task is made, in words for people. */
  cause: string;
  /** What it takes over; the service's present spec if absent. */
  origin?: TaskOrigin;
  replaces?: Task;
  startAfterMs?: number;
  /** Of the tasks before it, see restart-policy.ts. */
  restarts?: RestartHistory | undefined;
  /** The node it is to be on; absent = the scheduler chooses. */
  nodeId?: string;
  /** See Task.takesOver. */
  takesOver?: boolean;
}

/**
 * A service and its tasks while a plan for them is being made: each step sees what the steps
 * before it decided. Nothing outside is changed; `toPlan` says what is to be written.
 * 1. Desired states only move forward.
 * 2. All changes of one slot are one group, so a task is never replaced by half.
 * 3. A changed service is written before and without its tasks: they are planned again from what
 *    was stored, and every group can be guarded by the service it was planned for.
 */
export class ServiceDraft {
  readonly snapshot: Snapshot;
  readonly context: PlanContext;
  readonly service: Service;
  /** Which tasks no longer are what the service's spec asks for. */
  readonly comparison: SpecComparison;
  readonly leaveReasons: LeaveReasons;
  #changedService: Service | undefined;
  #specCause = '';
  readonly #slots = new Map<Place, Slot>();
  /** What is to be written of the tasks in #slots, by id. */
  readonly #actions = new Map<string, 'create' | 'update'>();
  readonly #changed = new Set<Place>();
  readonly #setAside = new Set<Place>();
  /** Of #slots, as long as nothing changes. */
  #listed: readonly Slot[] | undefined;
  #wakeAtMs = Infinity;
  #created = 0;

  constructor(snapshot: Snapshot, service: Service, context: PlanContext) {
    this.snapshot = snapshot;
    this.service = service;
    this.context = context;
    this.comparison = new SpecComparison(snapshot, service);
    this.leaveReasons = new LeaveReasons(snapshot, (atMs) => this.isPast(atMs));
    for (const slot of slotsOf(snapshot.tasksOfService(service.id))) {
      this.#slots.set(slot.place, slot);
    }
  }

  /** What its tasks are to reach: those of a job are to end well, all others to run. */
  get goal(): TaskState {
    return isJob(this.service) ? TaskState.COMPLETE : TaskState.RUNNING;
  }

  /**
   * In order of their places; those whose tasks are all to be removed too, but none that was set
   * aside.
   */
  slots(): readonly Slot[] {
    this.#listed ??= [...this.#slots.keys()]
      .filter((place) => !this.#setAside.has(place))
      .sort(comparePlaces)
      .map((place) => this.slot(place));
    return this.#listed;
  }

  slot(place: Place): Slot {
    return this.#slots.get(place) ?? { place, tasks: [] };
  }

  slotOf(task: Task): Slot {
    return this.slot(placeOf(task));
  }

  /** Slots that hold a place among the replicas. */
  occupiedSlots(): Slot[] {
    return this.slots().filter(isOccupied);
  }

  /** Nothing more is decided for a place: no step after this one sees it among the slots. */
  setAside(place: Place): void {
    this.#setAside.add(place);
    this.#listed = undefined;
  }

  /** @param desiredReason in words for people: "n2 is drained" */
  setDesired(task: Task, desiredState: TaskState, desiredReason: string): void {
    const { place, tasks } = this.slotOf(task);
    const present = tasks.find((t) => t.id === task.id);
    if (present === undefined || rankOf(present.desiredState) >= rankOf(desiredState)) return;
    const desiredSinceMs = this.context.nowMs;
    const next = { ...present, desiredState, desiredReason, desiredSinceMs };
    this.#put(
      place,
      tasks.map((t) => (t === present ? next : t)),
    );
    if (!this.#actions.has(task.id)) this.#actions.set(task.id, 'update');
  }

  #put(place: Place, tasks: readonly Task[]): void {
    this.#slots.set(place, { place, tasks });
    this.#changed.add(place);
    this.#listed = undefined;
  }

  /**
   * A new task in the slot; a node's id as its place makes it that node's. It may run at once when
   * nothing is in its way; else it is prepared and waits (desired READY), see promoteReady.
   */
  create(place: Place, options: CreateOptions): void {
    const { tasks } = this.slot(place);
    const { origin = originOf(this.service), replaces, startAfterMs = 0 } = options;
    const taskPlace = {
      slot: typeof place === 'number' ? place : 0,
      nodeId: typeof place === 'number' ? (options.nodeId ?? '') : place,
      generation: (tasks.at(-1)?.generation ?? 0) + 1,
      desiredState: TaskState.READY,
      startAfterMs,
      replacesTaskId: replaces?.id ?? '',
      cause: options.cause,
      restarts: options.restarts,
      takesOver: options.takesOver ?? false,
    };
    const task = newTask(this.service, origin, taskPlace, this.context);
    this.#created++;
    this.#actions.set(task.id, 'create');
    this.#put(place, [...tasks, task]);
    if (this.mayRun(task)) this.#put(place, [...tasks, { ...task, desiredState: this.goal }]);
  }

  /** Whether this plan makes as many tasks as one may; the others are planned when these are written. */
  isFull(): boolean {
    if (this.#created < MAX_NEW_TASKS) return false;
    this.wakeAt(this.context.nowMs);
    return true;
  }

  /**
   * Whether a task may run now: its delay is over, and each older task of its slot has ended, is
   * out of reach, or is meant to run beside it (an update that starts the new one first).
   */
  mayRun(task: Task): boolean {
    if (!this.isPast(task.startAfterMs)) return false;
    return this.slot(placeOf(task))
      .tasks.filter((t) => t.generation < task.generation)
      .every((t) => hasEnded(t) || isWantedTask(t) || this.isLost(t));
  }

  /** See slots.ts. */
  isLost(task: Task): boolean {
    return isLost(this.snapshot, task);
  }

  /** Whether the task is meant to run and does, on a node that has not been lost. */
  serves(task: Task): boolean {
    return isWantedTask(task) && isRunning(task) && !this.isLost(task);
  }

  /** @param cause for the history of the service, where its spec changes */
  setService(patch: Partial<Omit<Service, 'id' | 'version'>>, cause = 'updated'): void {
    this.#changedService = { ...(this.#changedService ?? this.service), ...patch };
    this.#specCause = cause;
  }

  /** Asks to plan again at that time, or before. */
  wakeAt(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs);
  }

  /** Whether that time has come; if not, it is planned again then. */
  isPast(atMs: number): boolean {
    if (atMs > this.context.nowMs) this.wakeAt(atMs);
    return atMs <= this.context.nowMs;
  }

  toPlan(): Plan {
    if (this.#changedService !== undefined) {
      const object = this.#changedService;
      const { nowMs } = this.context;
      const revisions = revisionChanges(this.service, object, this.#specCause, nowMs);
      return {
        groups: [[{ action: 'update', kind: 'service', object }, ...revisions]],
        requeueAfterMs: 0,
      };
    }
    const places = [...this.#changed].sort(comparePlaces);
    const groups = places.flatMap((place) => chunkChanges(this.#changesOf(place)));
    return {
      groups,
      ...(groups.length > 0 ? { guards: [{ kind: 'service', object: this.service }] } : {}),
      ...(this.#wakeAtMs < Infinity
        ? { requeueAfterMs: Math.max(0, this.#wakeAtMs - this.context.nowMs) }
        : {}),
    };
  }

  #changesOf(place: Place): Change[] {
    return this.slot(place).tasks.flatMap((object): Change[] => {
      const action = this.#actions.get(object.id);
      return action === undefined ? [] : [{ action, kind: 'task', object }];
    });
  }
}
