import { formatDurationMs } from '../../../common/duration.js';
import type { Task } from '../../../common/model/objects.js';
import { endedByItself, isTerminal } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { ServiceDraft } from './draft.js';
import { endingOf } from './endings.js';
import { planMoves } from './plan-move.js';
import { handedOn, judgeRestart } from './restart-policy.js';
import { isDone, isWantedTask, type Slot } from './slots.js';
import { isPaused } from './update-status.js';
import { isAlive, isUnsettled, leaveReasonOf, originFor, worthOf } from './worth.js';

/**
 * Replaces the tasks that cannot go on: those that ended, and those that have to leave their nodes
 * (see plan-move.ts). The desired state of one that ended becomes SHUTDOWN, and its replacement, in
 * the same place, is prepared at once; it runs after the restart delay and not before all tasks before
 * it have ended. One that fails while it is only being prepared is not replaced before it would have
 * run: the delay is between attempts of any kind. Where the restart policy says no, the task says why, and the place stays as it is
 * until the spec changes.
 */
export function planRestarts(draft: ServiceDraft): void {
  for (const slot of draft.slots()) {
    for (const task of slot.tasks) {
      if (!isWantedTask(task) || !isTerminal(task.status.state) || isDone(task)) continue;
      if (isPausing(draft, task)) draft.wakeAt(task.startAfterMs);
      else replaceEnded(draft, slot, task);
    }
  }
  planMoves(draft);
}

function isPausing(draft: ServiceDraft, task: Task): boolean {
  return (
    endedByItself(task) &&
    task.startAfterMs > draft.context.nowMs &&
    leaveReasonOf(draft, task) === undefined
  );
}

function replaceEnded(draft: ServiceDraft, { place }: Slot, task: Task): void {
  const { nowMs } = draft.context;
  const ending = endingOf(task);
  if (!isMissed(draft, task)) {
    draft.setDesired(task, TaskState.SHUTDOWN, ending);
    return;
  }
  const verdict = judgeRestart(task, nowMs);
  if (!verdict.again) {
    draft.setDesired(task, TaskState.SHUTDOWN, verdict.reason);
    return;
  }
  // Nobody waits for a node that is on its way out to recover.
  const delayMs = leaveReasonOf(draft, task) === undefined ? verdict.delayMs : 0;
  const when = delayMs === 0 ? 'at once' : `after ${formatDurationMs(delayMs)}`;
  draft.setDesired(task, TaskState.SHUTDOWN, `${ending}; replaced ${when}`);
  draft.create(place, {
    cause: ending,
    origin: originFor(draft, task),
    replaces: task,
    startAfterMs: delayMs === 0 ? 0 : nowMs + delayMs,
    restarts: verdict.restarts,
  });
}

/**
 * Whether the place needs another task for one that ended. Two share a place while one is to take over
 * from the other. If the old one ends, the new one is its replacement. If the new one ends, it is tried
 * again, unless the update was paused: then the old one serves on alone.
 */
function isMissed(draft: ServiceDraft, task: Task): boolean {
  const { comparison, service } = draft;
  const others = draft.slotOf(task).tasks.filter((t) => isAlive(t) && !draft.isLost(t));
  if (others.length === 0) return true;
  const isNew = !comparison.isDirty(task);
  if (isNew && isPaused(service) && others.every((t) => comparison.isDirty(t))) return false;
  const worth = isNew ? 3 : 1; // of a new one like it, on a node where it may stay
  return others.every((t) => worthOf(draft, t) < worth);
}

/**
 * Another task for each place whose last one was told to end by someone else: it gave way to a task of
 * higher priority. Not where the restart policy has given up, which it says again.
 */
export function refillPlaces(draft: ServiceDraft): void {
  for (const { place, tasks } of draft.occupiedSlots()) {
    const last = tasks.at(-1);
    if (last === undefined || tasks.some(isWantedTask)) continue;
    const own = endedByItself(last);
    if (own && !judgeRestart(last, last.desiredSinceMs).again) continue;
    if (draft.isFull()) return;
    draft.create(place, {
      cause: last.desiredReason || endingOf(last),
      origin: originFor(draft, last),
      replaces: last,
      restarts: handedOn(last, draft.context.nowMs),
    });
  }
}

/** Lets prepared tasks run whose delay is over and whose predecessors have ended, or are to. */
export function promoteReady(draft: ServiceDraft): void {
  for (const slot of draft.slots()) {
    for (const task of slot.tasks) {
      if (task.desiredState !== TaskState.READY || !draft.mayRun(task)) continue;
      const older = slot.tasks.filter((t) => t.generation < task.generation && isAlive(t));
      if (older.some((t) => isUnsettled(draft, t))) continue; // it may not be needed any more
      draft.setDesired(task, draft.goal, 'nothing is in its way any more');
    }
  }
}
