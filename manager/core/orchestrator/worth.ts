import type { Task } from '../../../common/model/objects.js';
import { rankOf } from '../../../common/model/task-state.js';
import type { ServiceDraft } from './draft.js';
import { originOf, type TaskOrigin } from './new-task.js';
import { hasEnded, isWantedTask } from './slots.js';
import { isPaused, isRollback, isUpdating } from './update-status.js';

/** At least so long a task must have run before another one is given up for it. */
const PROVEN_MS = 500;
/**
 * So long after a node came back, what it ran is only taken for alive if nothing better turns up: by
 * then its agent has told what is left of it.
 */
const SETTLED_MS = 2000;

/** Why a task is not to stay where it is, in words for people: "n2 is drained". */
export function leaveReasonOf(draft: ServiceDraft, task: Task): string | undefined {
  const { taskTemplate } = draft.service.spec;
  const { placement } = isHeldBack(draft, task) ? task.spec : taskTemplate;
  return draft.leaveReasons.of(task, placement) ?? takenOverReason(draft, task);
}

function takenOverReason(draft: ServiceDraft, task: Task): string | undefined {
  const { tasks } = draft.slotOf(task);
  if (tasks.length === 1) return undefined;
  const heir = tasks.find((t) => t.takesOver && t.replacesTaskId === task.id && isAlive(t));
  return heir?.cause;
}

/** Whether the task runs, or may come to. */
export function isAlive(task: Task): boolean {
  return isWantedTask(task) && !hasEnded(task);
}

/**
 * Whether the task is what ran before an update that is not finished, so that it goes by its own
 * spec until the update comes to it.
 */
function isHeldBack({ comparison, service }: ServiceDraft, task: Task): boolean {
  if (!comparison.isDirty(task)) return false;
  return isUpdating(service) || isPaused(service) || !comparison.hasSameTemplate(task);
}

/** What a task that takes the place of `task`, for another reason than an update, is made of. */
export function originFor(draft: ServiceDraft, task: Task): TaskOrigin {
  return isHeldBack(draft, task) ? task : originOf(draft.service);
}

/**
 * How much the task is worth beside others of its place. What is up to date is worth more than what
 * is not, and what may stay where it is more than what has to leave.
 */
export function worthOf(draft: ServiceDraft, task: Task): number {
  const upToDate = draft.comparison.isDirty(task) ? 0 : 2;
  return upToDate + (mayStay(draft, task) ? 1 : 0);
}

function mayStay(draft: ServiceDraft, task: Task): boolean {
  return leaveReasonOf(draft, task) === undefined && !isUnsettled(draft, task);
}

/** Whether its node was out of reach until a moment ago, and may still have to tell that it is dead. */
export function isUnsettled(draft: ServiceDraft, task: Task): boolean {
  const cameBackAtMs = draft.snapshot.node(task.nodeId)?.status.stateChangedAtMs ?? 0;
  return task.createdAtMs < cameBackAtMs && !draft.isPast(cameBackAtMs + SETTLED_MS);
}

/**
 * Whether a task has run long enough for another one to be given up for it: one that ends at once was
 * running, too, for a moment.
 */
export function isProven(draft: ServiceDraft, task: Task): boolean {
  const { spec } = draft.service;
  const { monitorMs } = isRollback(draft.service) ? spec.rollbackConfig : spec.updateConfig;
  return draft.isPast(runningSinceMs(task) + Math.min(PROVEN_MS, monitorMs));
}

/**
 * When the task entered RUNNING, by its node's clock, or by the manager's if the node's is ahead:
 * a wrong clock must not hold up an update.
 */
export function runningSinceMs(task: Task): number {
  return Math.min(task.status.runningAtMs, task.updatedAtMs);
}

/** The running one, else the one that has come furthest without ending; the older of equals. */
export function furthest(tasks: readonly Task[]): Task | undefined {
  const rank = (t: Task): number => (hasEnded(t) ? -1 : rankOf(t.status.state));
  return tasks.reduce<Task | undefined>(
    (best, t) => (best === undefined || rank(t) > rank(best) ? t : best),
    undefined,
  );
}
