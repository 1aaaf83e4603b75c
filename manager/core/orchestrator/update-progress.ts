import { endedByItself } from '../../../common/model/task-state.js';
import type { Task } from '../../../common/model/objects.js';
import type { UpdateConfig } from '../../../proto/gen/hatoba/v1/types.js';
import type { ServiceDraft } from './draft.js';
import { hasEnded, isWantedTask, type Slot } from './slots.js';
import type { SpecComparison } from './spec-comparison.js';
import { isAlive, runningSinceMs } from './worth.js';

/** How long a new task may take to come up, where the update config names no time. */
const DEFAULT_PROGRESS_DEADLINE_MS = 10 * 60_000;

/** How far an update has come with one place. */
export interface SlotProgress {
  slot: Slot;
  /** Has to be updated, and nothing has been done for it yet. */
  pending: boolean;
  /** Holds one of the places that `parallelism` gives. */
  occupied: boolean;
  /** Something is still awaited here before the update can be called complete. */
  open: boolean;
  /** Part of this update, as yet or already. */
  touched: boolean;
  /** The first task made by this update that did not live, or did not come up in time. */
  failure: Task | undefined;
}

/** 0 = a task may take as long as it likes. */
export function progressDeadlineMs({ progressDeadlineMs: ms }: UpdateConfig): number {
  return ms ?? DEFAULT_PROGRESS_DEADLINE_MS;
}

/** Whether what the slot runs, or ran last, is not made of the present spec. */
export function isOutdated(draft: { readonly comparison: SpecComparison }, slot: Slot): boolean {
  const wanted = slot.tasks.filter(isWantedTask);
  const newest = slot.tasks.at(-1);
  if (wanted.length > 0) return wanted.every((t) => draft.comparison.isDirty(t));
  return newest !== undefined && draft.comparison.isDirty(newest);
}

export function progressOf(draft: ServiceDraft, slot: Slot, config: UpdateConfig): SlotProgress {
  const own = slot.tasks.filter((t) => t.specVersion === draft.service.specVersion);
  const passed = own.find((t) => endedByItself(t) && hasPassed(t, config));
  const judged = passed === undefined ? own : own.slice(0, own.indexOf(passed));
  const failure = judged.find((t) => hasFailed(draft, t, config));
  const outdated = isOutdated(draft, slot);
  const base = { slot, failure, touched: outdated || own.length > 0 };
  if (failure !== undefined) return { ...base, pending: false, occupied: false, open: false };
  if (outdated) return { ...base, pending: true, occupied: false, open: true };
  const clean = slot.tasks.filter((t) => isWantedTask(t) && !draft.comparison.isDirty(t));
  if (clean.length === 0) return { ...base, pending: false, occupied: false, open: false };
  const server = passed ?? clean.find((t) => draft.serves(t));
  if (server === undefined) {
    const isAwaited = clean.some((t) => mayComeUp(draft, t, config));
    return { ...base, pending: false, occupied: isAwaited, open: isAwaited };
  }
  const isOwn = server.specVersion === draft.service.specVersion;
  const sinceMs = isOwn ? runningSinceMs(server) : -Infinity;
  const isWatched = passed === undefined && !draft.isPast(sinceMs + config.monitorMs);
  return {
    ...base,
    pending: false,
    occupied: !draft.isPast(sinceMs + config.delayMs),
    open: isWatched || oldOnesLinger(draft, slot),
  };
}

/**
 * Whether an up-to-date task that does not run is waited for. One that an update before this has made
 * is part of it no more than what runs already: it cannot fail this update, nor hold it up for ever.
 */
function mayComeUp(draft: ServiceDraft, task: Task, config: UpdateConfig): boolean {
  const hasComeUp = task.status.runningAtMs > 0;
  // whether another takes its place is for its restart policy to say
  if (hasComeUp && draft.isLost(task)) return false;
  if (task.specVersion === draft.service.specVersion) return true;
  const deadlineMs = progressDeadlineMs(config);
  const fromMs = Math.max(task.createdAtMs, task.startAfterMs);
  return deadlineMs === 0 || !draft.isPast(fromMs + deadlineMs);
}

/** Whether outdated tasks of the slot are still on their way out, on nodes that can tell. */
function oldOnesLinger(draft: ServiceDraft, slot: Slot): boolean {
  return slot.tasks.some((t) => draft.comparison.isDirty(t) && !hasEnded(t) && !draft.isLost(t));
}

/**
 * Ended by itself, whatever the exit code, before it ran or within the monitor period after; or did
 * not come up in time. What was over before a paused update went on again is forgiven.
 */
function hasFailed(draft: ServiceDraft, task: Task, config: UpdateConfig): boolean {
  const resumedAtMs = draft.service.updateStatus?.resumedAtMs ?? 0;
  if (!isWantedTask(task) && task.desiredSinceMs <= resumedAtMs) return false;
  const { runningAtMs } = task.status;
  if (endedByItself(task)) return !hasPassed(task, config);
  const deadlineMs = progressDeadlineMs(config);
  if (!isAlive(task) || runningAtMs > 0 || deadlineMs === 0) return false;
  return draft.isPast(Math.max(task.createdAtMs, task.startAfterMs, resumedAtMs) + deadlineMs);
}

/** Whether a task that ended had run for the monitor period: what follows it is no more of the update's. */
function hasPassed({ status }: Task, config: UpdateConfig): boolean {
  return status.runningAtMs > 0 && status.timestampMs - status.runningAtMs >= config.monitorMs;
}
