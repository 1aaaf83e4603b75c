import type { Task } from '../../../common/model/objects.js';
import { endedByItself } from '../../../common/model/task-state.js';
import { RestartCondition, TaskState, UpdateOrder } from '../../../proto/gen/hatoba/v1/types.js';
import type { CreateOptions, ServiceDraft } from './draft.js';
import { isGlobal } from '../../../common/model/service-modes.js';
import type { TaskOrigin } from './new-task.js';
import { handedOn, judgeRestart } from './restart-policy.js';
import { isRunning, type Slot } from './slots.js';
import { isPaused } from './update-status.js';
import { isAlive, leaveReasonOf, originFor, worthOf } from './worth.js';

/**
 * Gives another task to each place whose task has to leave its node: because that is drained, tainted
 * or lost, or because the task no longer fits there.
 * - Where updates start the new task first, so do moves: the old one serves until the new one does
 *   (see settle-places.ts), and at most `parallelism` are on their way at once. What finds no room
 *   elsewhere stays and serves; the new task says why it waits.
 * - Else the old one ends, and then the new one runs.
 * - A task that runs on a node out of reach may still be alive: it is given up only when the one in
 *   its place runs, so a node that is back soon goes on as if nothing had happened.
 */
export function planMoves(draft: ServiceDraft): void {
  if (isGlobal(draft.service)) return; // its places are the nodes themselves
  let underWay: number | undefined;
  for (const slot of draft.slots()) {
    const leaving = leavingIn(draft, slot);
    if (leaving === undefined) continue;
    const { task, others } = leaving;
    for (const other of others) end(draft, other);
    if (leaveReasonOf(draft, task) === undefined) continue; // it was to give way to one of them
    if (draft.isLost(task)) moveLost(draft, leaving);
    else if (!startsFirst(draft) || !draft.serves(task)) moveNow(draft, leaving);
    else {
      underWay ??= draft.slots().filter((s) => isMoving(draft, s)).length;
      if (underWay < limitOf(draft) && startHeir(draft, leaving)) underWay++;
    }
  }
}

/** A place all of whose tasks have to leave. */
interface Leaving {
  readonly slot: Slot;
  /** The one that serves, or might. */
  readonly task: Task;
  readonly others: readonly Task[];
  /** The one whose like is to take the place over. */
  readonly model: Task;
}

function leavingIn(draft: ServiceDraft, slot: Slot): Leaving | undefined {
  const alive = slot.tasks.filter(isAlive);
  if (alive.length === 0 || alive.some((t) => leaveReasonOf(draft, t) === undefined)) {
    return undefined;
  }
  // What a paused update has begun is worth less than what it has not come to.
  const worth = (t: Task): number => worthOf(draft, t) * (isPaused(draft.service) ? -1 : 1);
  const model = alive.reduce((best, t) => (worth(t) > worth(best) ? t : best));
  const inOrder = [model, ...alive];
  const task = inOrder.find((t) => draft.serves(t)) ?? inOrder.find(isRunning) ?? model;
  return { slot, task, others: alive.filter((t) => t !== task), model };
}

function end(draft: ServiceDraft, task: Task): void {
  const reason = leaveReasonOf(draft, task) ?? 'not needed any more';
  draft.setDesired(task, TaskState.SHUTDOWN, reason);
}

function moveLost(draft: ServiceDraft, leaving: Leaving): void {
  const { task } = leaving;
  const mayBeBack = isRunning(task) && draft.snapshot.node(task.nodeId) !== undefined;
  // What is never to run twice is not replaced as long as it may be alive.
  const once = task.spec.restartPolicy.condition === RestartCondition.NONE;
  if (mayBeBack && once) return;
  if (once) end(draft, task);
  else if (mayBeBack && draft.goal === TaskState.RUNNING) startHeir(draft, leaving);
  else moveNow(draft, leaving);
}

function moveNow(draft: ServiceDraft, leaving: Leaving): void {
  const options = moveOptions(draft, leaving);
  end(draft, leaving.task);
  draft.create(leaving.slot.place, options);
}

/**
 * Lets a task start that takes the place over from one that serves, or might. If one before it could
 * not come up, the restart policy says when the next one may try, if ever.
 * @returns whether it did
 */
function startHeir(draft: ServiceDraft, leaving: Leaving): boolean {
  const { slot, task } = leaving;
  const options = moveOptions(draft, leaving);
  const newest = slot.tasks.at(-1) ?? task;
  const hasFailed = newest.generation > task.generation && endedByItself(newest);
  if (!hasFailed || newest.specVersion !== options.origin.specVersion) {
    draft.create(slot.place, options);
    return true;
  }
  const { nowMs } = draft.context;
  const verdict = judgeRestart(newest, nowMs);
  if (!verdict.again) return false;
  const { delayMs, restarts } = verdict;
  draft.create(slot.place, { ...options, startAfterMs: nowMs + delayMs, restarts });
  return true;
}

function moveOptions(
  draft: ServiceDraft,
  { task, model }: Leaving,
): CreateOptions & { origin: TaskOrigin } {
  return {
    cause: leaveReasonOf(draft, task) ?? '',
    origin: originFor(draft, model),
    replaces: task,
    restarts: handedOn(model, draft.context.nowMs),
  };
}

/** Never what is to end: its work would be done twice. */
function startsFirst({ goal, service }: ServiceDraft): boolean {
  return goal === TaskState.RUNNING && service.spec.updateConfig.order === UpdateOrder.START_FIRST;
}

function limitOf({ service }: ServiceDraft): number {
  const { parallelism } = service.spec.updateConfig;
  return parallelism === 0 ? Infinity : parallelism;
}

/** Whether a task serves in the slot until the one that takes over from it does. */
function isMoving(draft: ServiceDraft, slot: Slot): boolean {
  const alive = slot.tasks.filter(isAlive);
  return (
    alive.length > 1 && alive.some((t) => draft.serves(t) && leaveReasonOf(draft, t) !== undefined)
  );
}
