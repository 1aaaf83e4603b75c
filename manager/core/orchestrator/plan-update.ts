import type { Service, Task } from '../../../common/model/objects.js';
import { formatDurationMs } from '../../../common/duration.js';
import { taskName } from '../../../common/model/task-place.js';
import { rankOf } from '../../../common/model/task-state.js';
import { toWord } from '../../../common/model/words.js';
import {
  TaskState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
  type UpdateConfig,
} from '../../../proto/gen/hatoba/v1/types.js';
import { causeOfRollback } from '../service/revisions.js';
import type { ServiceDraft } from './draft.js';
import { endedByItself } from './plan-restart.js';
import { hasEnded, isWantedTask, nodeFateOf, type Slot } from './slots.js';

const PROVEN_MS = 500;

/**
 * One step of a rolling update: finishes the slots whose new task runs, judges failures, then
 * starts as many further slots as `parallelism` leaves free. All of its memory is in the stored
 * objects: the spec version a task was made by, when it ran, when it ended, the update's status.
 */
export function planUpdate(draft: ServiceDraft): void {
  for (const slot of draft.slots()) finishSlot(draft, slot);
  const state = draft.service.updateStatus?.state ?? UpdateState.UNKNOWN;
  if (state === UpdateState.UNKNOWN) beginUpdate(draft);
  else if (state === UpdateState.UPDATING || state === UpdateState.ROLLBACK_STARTED) step(draft);
}

/**
 * Leaves one task to a slot that has more than it needs: the up-to-date one once it has proven that
 * it runs; of several outdated ones, the one that is furthest.
 */
function finishSlot(draft: ServiceDraft, slot: Slot): void {
  const wanted = slot.tasks.filter(isWantedTask);
  if (wanted.length < 2) return;
  const clean = wanted.filter((t) => !draft.comparison.isDirty(t));
  const dirty = wanted.filter((t) => draft.comparison.isDirty(t));
  const serves = clean.some((t) => draft.serves(t) && isProven(draft, t));
  const keep = [furthest(clean), serves ? undefined : furthest(dirty)];
  for (const task of wanted) {
    if (!keep.includes(task)) draft.setDesired(task, TaskState.SHUTDOWN, updateReason(draft));
  }
}

/**
 * Whether a task has run long enough for another one to be given up for it: one that ends at once was
 * running, too, for a moment.
 */
function isProven(draft: ServiceDraft, task: Task): boolean {
  const { service, context } = draft;
  const isBack = service.updateStatus?.state === UpdateState.ROLLBACK_STARTED;
  const { monitorMs } = isBack ? service.spec.rollbackConfig : service.spec.updateConfig;
  const atMs = runningSinceMs(task) + Math.min(PROVEN_MS, monitorMs);
  if (atMs > context.nowMs) draft.wakeAt(atMs);
  return atMs <= context.nowMs;
}

/** The running one, else the one that has come furthest without ending; the older of equals. */
function furthest(tasks: readonly Task[]): Task | undefined {
  const rank = (t: Task): number => (hasEnded(t) ? -1 : rankOf(t.status.state));
  return tasks.reduce<Task | undefined>(
    (best, t) => (best === undefined || rank(t) > rank(best) ? t : best),
    undefined,
  );
}

/** Where some slot is outdated. */
export function beginUpdate(draft: ServiceDraft): void {
  const pending = draft.occupiedSlots().some((s) => isOutdated(draft, s));
  if (!pending) return;
  draft.setService({
    updateStatus: {
      state: UpdateState.UPDATING,
      startedAtMs: draft.context.nowMs,
      completedAtMs: 0,
      resumedAtMs: 0,
      message: 'update in progress',
    },
  });
}

/** Whether what the slot runs, or ran last, is not made of the present spec. */
export function isOutdated(draft: Pick<ServiceDraft, 'comparison'>, slot: Slot): boolean {
  const wanted = slot.tasks.filter(isWantedTask);
  const newest = slot.tasks.at(-1);
  if (wanted.length > 0) return wanted.every((t) => draft.comparison.isDirty(t));
  return newest !== undefined && draft.comparison.isDirty(newest);
}

function step(draft: ServiceDraft): void {
  const { service } = draft;
  const rollingBack = service.updateStatus?.state === UpdateState.ROLLBACK_STARTED;
  const config = rollingBack ? service.spec.rollbackConfig : service.spec.updateConfig;
  const slots = draft.occupiedSlots().map((slot) => progressOf(draft, slot, config));
  const failures = slots.flatMap((s) => s.failure ?? []);
  const touched = slots.filter((s) => s.touched).length;
  const [failed] = failures;
  if (
    failed !== undefined &&
    config.failureAction !== UpdateFailureAction.CONTINUE &&
    failures.length > config.maxFailureRatio * touched
  ) {
    stopUpdate(draft, failed, config, rollingBack);
    return;
  }
  startSlots(draft, slots, config);
  completeIfDone(draft, slots, rollingBack);
}

interface SlotProgress {
  slot: Slot;
  /** Has to be updated, and nothing has been done for it yet. */
  pending: boolean;
  /** Holds one of the places that `parallelism` gives. */
  occupied: boolean;
  /** Something is still awaited here before the update can be called complete. */
  open: boolean;
  /** Part of this update, as yet or already. */
  touched: boolean;
  /** The first task made by this update that did not live. */
  failure: Task | undefined;
}

function progressOf(draft: ServiceDraft, slot: Slot, config: UpdateConfig): SlotProgress {
  const own = slot.tasks.filter((t) => t.specVersion === draft.service.specVersion);
  const failure = own.find((t) => isUpdateFailure(t, config.monitorMs));
  const outdated = isOutdated(draft, slot);
  const base = { slot, failure, touched: outdated || own.length > 0 };
  if (failure !== undefined) return { ...base, pending: false, occupied: false, open: false };
  if (outdated) return { ...base, pending: true, occupied: false, open: true };
  const clean = slot.tasks.find((t) => isWantedTask(t) && !draft.comparison.isDirty(t));
  if (clean === undefined) return { ...base, pending: false, occupied: false, open: false };
  if (!draft.serves(clean)) return { ...base, pending: false, occupied: true, open: true };
  const { nowMs } = draft.context;
  const isOwn = clean.specVersion === draft.service.specVersion;
  const sinceMs = isOwn ? runningSinceMs(clean) : -Infinity;
  for (const endMs of [sinceMs + config.delayMs, sinceMs + config.monitorMs]) {
    if (endMs > nowMs) draft.wakeAt(endMs);
  }
  return {
    ...base,
    pending: false,
    occupied: nowMs < sinceMs + config.delayMs,
    open: nowMs < sinceMs + config.monitorMs || oldOnesLinger(draft, slot),
  };
}

/** Whether outdated tasks of the slot are still on their way out, on nodes that can tell. */
function oldOnesLinger(draft: ServiceDraft, slot: Slot): boolean {
  return slot.tasks.some(
    (t) => draft.comparison.isDirty(t) && !hasEnded(t) && nodeFateOf(draft.snapshot, t) !== 'lost',
  );
}

/**
 * When the task entered RUNNING, by its node's clock, or by the manager's if the node's is ahead:
 * a wrong clock must not hold up an update.
 */
function runningSinceMs(task: Task): number {
  return Math.min(task.status.runningAtMs, task.updatedAtMs);
}

/** Ended by itself, whatever the exit code, before it ran or within `monitorMs` after. */
function isUpdateFailure(task: Task, monitorMs: number): boolean {
  if (!endedByItself(task)) return false;
  const { runningAtMs, timestampMs } = task.status;
  return runningAtMs === 0 || timestampMs - runningAtMs < monitorMs;
}

function startSlots(
  draft: ServiceDraft,
  slots: readonly SlotProgress[],
  config: UpdateConfig,
): void {
  const occupied = slots.filter((s) => s.occupied).length;
  const limit = config.parallelism === 0 ? Infinity : config.parallelism;
  const pending = slots.filter((s) => s.pending).map((s) => s.slot);
  // What does not run loses nothing by being updated.
  const idleFirst = [
    ...pending.filter((s) => !s.tasks.some((t) => draft.serves(t))),
    ...pending.filter((s) => s.tasks.some((t) => draft.serves(t))),
  ];
  for (const slot of idleFirst.slice(0, Math.max(0, limit - occupied))) {
    updateSlot(draft, slot, config.order);
  }
}

function updateSlot(draft: ServiceDraft, slot: Slot, order: UpdateOrder): void {
  const old = slot.tasks.filter(isWantedTask);
  const last = old.at(-1) ?? slot.tasks.at(-1);
  const keepsOld = order === UpdateOrder.START_FIRST && old.some((t) => draft.serves(t));
  if (!keepsOld) {
    for (const task of old) draft.setDesired(task, TaskState.SHUTDOWN, updateReason(draft));
  }
  const cause = updateReason(draft);
  draft.create(slot.place, last === undefined ? { cause } : { cause, replaces: last });
}

function updateReason({ service }: ServiceDraft): string {
  return `update to revision ${service.specVersion}`;
}

function completeIfDone(
  draft: ServiceDraft,
  slots: readonly SlotProgress[],
  rollingBack: boolean,
): void {
  if (slots.some((s) => s.open)) return;
  draft.setService({
    updateStatus: {
      state: rollingBack ? UpdateState.ROLLBACK_COMPLETED : UpdateState.COMPLETED,
      startedAtMs: draft.service.updateStatus?.startedAtMs ?? 0,
      completedAtMs: draft.context.nowMs,
      resumedAtMs: 0,
      message: rollingBack ? 'rollback completed' : 'update completed',
    },
  });
}

function stopUpdate(
  draft: ServiceDraft,
  failed: Task,
  config: UpdateConfig,
  rollingBack: boolean,
): void {
  const { service } = draft;
  const cause = `due to failure or early termination of task ${taskName(failed)}: ${reasonOf(failed, config)}`;
  const { previousSpec } = service;
  if (
    config.failureAction === UpdateFailureAction.ROLLBACK &&
    !rollingBack &&
    previousSpec !== undefined
  ) {
    draft.setService(
      rollbackPatch(
        { ...service, previousSpec },
        draft.context.nowMs,
        `update rolled back ${cause}`,
      ),
      `${causeOfRollback(draft.snapshot, service, previousSpec)} ${cause}`,
    );
    return;
  }
  draft.setService({
    updateStatus: {
      state: rollingBack ? UpdateState.ROLLBACK_PAUSED : UpdateState.PAUSED,
      startedAtMs: service.updateStatus?.startedAtMs ?? 0,
      completedAtMs: 0,
      resumedAtMs: 0,
      message: `${rollingBack ? 'rollback' : 'update'} paused ${cause}`,
    },
  });
}

/** What a rollback changes: the two specs swap places, as a new version of the spec. */
export function rollbackPatch(
  service: Service & { previousSpec: Service['spec'] },
  nowMs: number,
  message: string,
): Pick<Service, 'spec' | 'previousSpec' | 'specVersion' | 'updateStatus'> {
  return {
    spec: service.previousSpec,
    previousSpec: service.spec,
    specVersion: service.specVersion + 1,
    updateStatus: {
      state: UpdateState.ROLLBACK_STARTED,
      startedAtMs: nowMs,
      completedAtMs: 0,
      resumedAtMs: 0,
      message,
    },
  };
}

function reasonOf(task: Task, config: UpdateConfig): string {
  const { err, state, containerStatus, runningAtMs } = task.status;
  if (err !== '') return err;
  const code =
    containerStatus.exitCode === undefined ? '' : ` with exit code ${containerStatus.exitCode}`;
  const when =
    runningAtMs === 0
      ? 'before it ran'
      : `within the monitor period of ${formatDurationMs(config.monitorMs)}`;
  return `${toWord(state)}${code} ${when}`;
}
