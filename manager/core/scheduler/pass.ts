import { HatobaError } from '../../../common/errors.js';
import type { Task } from '../../../common/model/objects.js';
import { placeName } from '../../../common/model/task-place.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { groupBy } from '../group-by.js';
import { Candidates } from './candidates.js';
import { countOfService } from './counters.js';
import { explainRefusal, explainUnplaceable } from './explain.js';
import { nodeChecks } from './filters/all-filters.js';
import { staticChecks } from './filters/static-filters.js';
import { passesAll, shortened } from './filters/check.js';
import type { NodeView } from './node-view.js';
import { pickerFor } from './picker.js';
import { findEviction, type Eviction } from './preemption.js';
import { haveSameReasons } from './reasons.js';
import type { PlacementRequest } from './request.js';
import { classOf, placeKey } from './standing.js';
import type { SchedulerState } from './state.js';

/** Tasks that may make others give way in one pass; the next ones wait for the next pass. */
const MAX_EVICTIONS = 32;
/** How old the message of a task that waits has to be for other figures to be worth a write. */
const REWORD_MS = 10_000;

/**
 * One look at what is pending. Each placement shows in the state at once, so that the next one
 * rests on it.
 */
export class Pass {
  readonly #state: SchedulerState;
  readonly #nowMs: number;
  /** Tasks as they are to be stored: placed or stopped. */
  readonly #changed: Task[] = [];
  /** And those that go on waiting, for another reason than before. */
  readonly #waiting: Task[] = [];
  /** Pending tasks whose room is being made: it is kept for them until the pass ends. */
  readonly #held: Task[] = [];
  #evictions = 0;
  #rewordInMs: number | undefined;

  constructor(state: SchedulerState, nowMs: number) {
    this.#state = state;
    this.#nowMs = nowMs;
  }

  /** When messages are to be looked at again whose figures are not right any more. */
  get rewordInMs(): number | undefined {
    return this.#rewordInMs;
  }

  /** @returns the tasks that changed, as they are to be stored */
  run(pending: readonly Task[]): Task[] {
    for (const tasks of inOrder(pending)) this.#placeClass(tasks);
    for (const task of this.#held) this.#state.putTask(task);
    for (const task of this.#waiting) this.#state.putTask(task);
    return [...this.#changed, ...this.#waiting];
  }

  #placeClass(tasks: readonly Task[]): void {
    const [first] = tasks;
    if (first === undefined) return;
    const request = this.#readRequest(first);
    if (typeof request === 'string') {
      for (const task of tasks) this.#wait(task, request);
      return;
    }
    const fresh: Task[] = [];
    const isFollowing = this.#followers(request);
    for (const task of tasks) {
      if (task.nodeId !== '') this.#placeOnItsNode(task, request);
      else if (isFollowing(task)) this.#placeAlike([task], { ...request, place: placeKey(task) });
      else fresh.push(task);
    }
    if (fresh.length > 0) this.#placeAlike(fresh, request);
  }

  /** A spec that was stored by others and cannot be read holds up its own tasks alone. */
  #readRequest(task: Task): PlacementRequest | string {
    try {
      return this.#state.requestOf(task);
    } catch (error) {
      if (!(error instanceof HatobaError)) throw error;
      return `no suitable node: ${error.message}`;
    }
  }

  /** Which tasks have others of their place beside them, where that makes a difference. */
  #followers({
    task,
    spreads,
    away,
    wishes,
    spreadKeys,
  }: PlacementRequest): (task: Task) => boolean {
    const { maxReplicas } = task.spec.placement;
    const lists = [spreads, away, wishes, spreadKeys];
    if (maxReplicas === 0 && lists.every((list) => list.length === 0)) return () => false;
    const all = this.#state.counter(countOfService(task.serviceId, [], true));
    return (one) => all.at('', placeKey(one)) < all.at('');
  }

  /** Places tasks that differ in nothing. */
  #placeAlike(tasks: readonly Task[], request: PlacementRequest): void {
    const candidates = new Candidates(request, this.#state, this.#nowMs);
    const picker = pickerFor(candidates, tasks.length);
    let message: string | undefined;
    let mayEvict = true;
    for (const task of tasks) {
      const view = message === undefined ? picker.best() : undefined;
      if (view !== undefined) {
        this.#assign(task, view);
        continue;
      }
      message ??= explainUnplaceable(candidates);
      const eviction: string | undefined = mayEvict
        ? this.#evict(task, request, candidates.eligible(), (v) => candidates.fits(v))
        : undefined;
      mayEvict = eviction !== undefined; // what nothing gives way to, it does not to the next one
      this.#wait(task, eviction ?? message + this.#whyNoneGivesWay(request));
    }
  }

  #placeOnItsNode(task: Task, classRequest: PlacementRequest): void {
    const request = { ...classRequest, task, place: placeKey(task) };
    const view = this.#state.nodes.get(task.nodeId);
    if (view === undefined) {
      this.#wait(task, 'its node is not in the cluster');
      return;
    }
    const refusal = explainRefusal(request, view, this.#state);
    if (refusal === undefined) {
      this.#assign(task, view);
      return;
    }
    const isRight = passesAll(staticChecks(request), view);
    const checks = nodeChecks(request, this.#state);
    const eviction = this.#evict(task, request, isRight ? [view] : [], (v) => passesAll(checks, v));
    this.#wait(task, eviction ?? refusal + this.#whyNoneGivesWay(request));
  }

  #assign(task: Task, view: NodeView): void {
    const assigned = this.#onNode(task, view);
    this.#state.putTask(assigned);
    this.#changed.push(assigned);
  }

  #onNode(task: Task, view: NodeView): Task {
    const { generic } = task.spec.resources.reservations;
    return {
      ...task,
      nodeId: view.node.id,
      assignedGenericResources: generic.length === 0 ? [] : view.generic.give(generic),
      status: {
        ...task.status,
        state: TaskState.ASSIGNED,
        timestampMs: this.#nowMs,
        message: `assigned to ${view.name}`,
      },
    };
  }

  /**
   * It stays pending. A message is written only where it differs from the one that is there, and not
   * again and again where only its figures do: else each task that ends would be a write for each
   * that waits.
   */
  #wait(task: Task, message: string): void {
    const { status } = task;
    if (status.message === message) return;
    const ageMs = Math.abs(this.#nowMs - status.timestampMs);
    if (ageMs < REWORD_MS && haveSameReasons(status.message, message)) {
      this.#rewordInMs = Math.min(this.#rewordInMs ?? Infinity, REWORD_MS - ageMs);
      return;
    }
    const reworded = { ...status, message, timestampMs: this.#nowMs };
    this.#waiting.push({ ...task, status: reworded });
  }

  /**
   * Makes tasks of lower priority give way, and keeps their room for this one.
   * @returns what the task waits for
   */
  #evict(
    task: Task,
    request: PlacementRequest,
    views: readonly NodeView[],
    fits: (view: NodeView) => boolean,
  ): string | undefined {
    if (this.#evictions >= MAX_EVICTIONS) return undefined;
    const eviction = findEviction(request, this.#state, views, fits);
    if (eviction === undefined) return undefined;
    this.#evictions++;
    for (const victim of eviction.victims) this.#stop(victim, task);
    this.#state.putTask(this.#onNode(task, eviction.view));
    this.#held.push(task);
    return waitMessage(eviction);
  }

  #stop(victim: Task, inFavourOf: Task): void {
    const stopped: Task = {
      ...victim,
      desiredState: TaskState.SHUTDOWN,
      desiredSinceMs: this.#nowMs,
      desiredReason: `gives way to ${placeName(inFavourOf)} (priority ${inFavourOf.spec.priority})`,
    };
    this.#state.putTask(stopped);
    this.#changed.push(stopped);
  }

  #whyNoneGivesWay({ task }: PlacementRequest): string {
    const { priority } = task.spec;
    if (this.#state.hasTasksBelow(priority)) {
      return this.#evictions >= MAX_EVICTIONS
        ? '; tasks of lower priority give way to others first'
        : '; nor would there be room if tasks of lower priority gave way';
    }
    return priority > 0 ? '; there are no tasks of lower priority to give way' : '';
  }
}

function waitMessage({ view, victims, stopping }: Eviction): string {
  const names = shortened([...stopping, ...victims].map(placeName).sort());
  return `gets a place on ${view.name} when these have ended, which give way to it: ${names}`;
}

/** Tasks by class: the highest priority first, then those that wait longest. */
function inOrder(pending: readonly Task[]): Task[][] {
  const classes = [...groupBy(pending, classOf)].map(([key, tasks]) => ({
    key,
    tasks: tasks.sort((a, b) => a.slot - b.slot || (a.id < b.id ? -1 : 1)),
    priority: tasks[0]?.spec.priority ?? 0,
    sinceMs: tasks.reduce((least, t) => Math.min(least, t.createdAtMs), Infinity),
  }));
  classes.sort(
    (a, b) => b.priority - a.priority || a.sinceMs - b.sinceMs || (a.key < b.key ? -1 : 1),
  );
  return classes.map(({ tasks }) => tasks);
}
