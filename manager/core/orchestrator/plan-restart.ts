import type { Service, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { RestartCondition, TaskState, UpdateState } from '../../../proto/gen/hatoba/v1/types.js';
import type { ServiceDraft } from './draft.js';
import { isDone, isLive, isWantedTask, nodeFateOf, type Slot } from './slots.js';

/** Pause before a replacement starts, where the restart policy names none. */
export const DEFAULT_RESTART_DELAY_MS = 5000;

const OWN_ENDINGS: ReadonlySet<TaskState> = new Set([
  TaskState.COMPLETE,
  TaskState.FAILED,
  TaskState.REJECTED,
]);

/** Whether a task ended by itself, rather than because it was told to or its node was lost. */
export function endedByItself(task: Task): boolean {
  return OWN_ENDINGS.has(task.status.state);
}

/**
 * Replaces the tasks that cannot go on: those that ended, those of nodes that are down, gone or
 * drained. The old task's desired state becomes SHUTDOWN and its replacement, in the same slot, is
 * prepared at once; it runs after the restart delay and not before the old one has ended (which of
 * a lost node nobody can tell, so there it does not wait). A task of a drained or lost node is
 * replaced without delay. Where the restart policy says no, the slot stays as it is until the spec
 * changes.
 */
export function planRestarts(draft: ServiceDraft): void {
  for (const slot of draft.slots()) {
    for (const task of slot.tasks) {
      const fate = nodeFateOf(draft.snapshot, task);
      const cannotGoOn = isTerminal(task.status.state) || fate !== 'usable';
      if (isWantedTask(task) && cannotGoOn && !isDone(task)) replace(draft, slot, task);
    }
  }
}

function replace(draft: ServiceDraft, { place }: Slot, task: Task): void {
  const ended = isTerminal(task.status.state);
  const { tasks } = draft.slot(place);
  const companion = tasks.find(
    (t) => t.id !== task.id && isLive(t) && nodeFateOf(draft.snapshot, t) === 'usable',
  );
  draft.setDesired(task, TaskState.SHUTDOWN, 'it cannot go on');
  if (companion !== undefined && !retriesBeside(draft, task)) return;
  if (!mayRestart(task, tasks, draft.context.nowMs)) return;
  const moved = !ended || nodeFateOf(draft.snapshot, task) !== 'usable';
  const delayMs = moved ? 0 : restartDelayMs(task);
  draft.create(place, {
    // While an update has not come to this slot, what runs here is what ran here before.
    ...(draft.comparison.isDirty(task) ? { origin: task } : {}),
    cause: 'a task cannot go on',
    replaces: task,
    startAfterMs: delayMs === 0 ? 0 : draft.context.nowMs + delayMs,
  });
}

/**
 * Two tasks share a slot while an update starts the new one before it stops the old. If the old
 * one ends, the new one is its replacement. If the new one ends, it is tried again, unless the
 * update was paused: then the old one serves on alone.
 */
function retriesBeside(draft: ServiceDraft, task: Task): boolean {
  return !draft.comparison.isDirty(task) && !isPaused(draft.service);
}

export function isPaused(service: Service): boolean {
  const state = service.updateStatus?.state;
  return state === UpdateState.PAUSED || state === UpdateState.ROLLBACK_PAUSED;
}

export function restartDelayMs(task: Task): number {
  return task.spec.restartPolicy.delayMs ?? DEFAULT_RESTART_DELAY_MS;
}

/**
 * What the restart policy says about replacing `task`. Attempts are the replacements of tasks of
 * this spec that had ended by themselves, as stored in the slot; the window reaches back over the
 * restart delays as well, or a delay longer than the window would void the limit.
 */
export function mayRestart(task: Task, slotTasks: readonly Task[], nowMs: number): boolean {
  const { condition, maxAttempts, windowMs } = task.spec.restartPolicy;
  const completed = task.status.state === TaskState.COMPLETE;
  if (condition === RestartCondition.NONE) return false;
  if (condition === RestartCondition.ON_FAILURE && completed) return false;
  if (maxAttempts === 0 || !isTerminal(task.status.state)) return true;
  const reachMs = windowMs + maxAttempts * restartDelayMs(task);
  const sinceMs = windowMs === 0 ? 0 : nowMs - reachMs;
  const replaced = new Map(slotTasks.map((t) => [t.id, t]));
  const attempts = slotTasks.filter((t) => {
    const old = replaced.get(t.replacesTaskId);
    return (
      t.specVersion === task.specVersion &&
      t.createdAtMs >= sinceMs &&
      old?.specVersion === task.specVersion &&
      endedByItself(old)
    );
  });
  return attempts.length < maxAttempts;
}

/** Lets prepared tasks run whose delay is over and whose predecessors have ended. */
export function promoteReady(draft: ServiceDraft): void {
  for (const slot of draft.slots()) {
    for (const task of slot.tasks) {
      if (task.desiredState === TaskState.READY && draft.mayRun(task)) {
        draft.setDesired(task, draft.goal, 'nothing is in its way any more');
      }
    }
  }
}
