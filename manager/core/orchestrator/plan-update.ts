import type { Task } from '../../../common/model/objects.js';
import { placeName } from '../../../common/model/task-place.js';
import {
  TaskState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
  type UpdateConfig,
} from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { causeOfRollback } from '../service/revisions.js';
import type { ServiceDraft } from './draft.js';
import { isGlobal } from '../../../common/model/service-modes.js';
import { hostPortsOf } from './new-task.js';
import { settlePlaces } from './settle-places.js';
import { isWantedTask, type Slot } from './slots.js';
import { isOutdated, progressOf, type SlotProgress } from './update-progress.js';
import {
  begunUpdate,
  completedUpdate,
  IN_PROGRESS,
  isRollback,
  isUpdating,
  pausedUpdate,
  rollbackPatch,
  ROLLED_BACK,
  stateOf,
} from './update-status.js';
import { causeOfStop, causeOfUpdate } from './update-words.js';
import { furthest, isAlive, leaveReasonOf } from './worth.js';

/** A task may wait so long for a node before its update speaks of it. */
const WAITS_MS = 1000;

/**
 * One step of a rolling update: finishes the places whose new task runs, judges failures, then starts
 * as many further places as `parallelism` leaves free. All of its memory is in the stored objects: the
 * spec version a task was made by, when it was made and ran, when it ended, the update's status.
 */
export function planUpdate(draft: ServiceDraft): void {
  settlePlaces(draft);
  if (stateOf(draft.service) === UpdateState.UNKNOWN) beginUpdate(draft);
  else if (isUpdating(draft.service)) step(draft);
}

/** Where some slot is outdated, and not because an update to this very spec has failed there. */
export function beginUpdate(draft: ServiceDraft): void {
  const { specVersion } = draft.service;
  const isPending = (slot: Slot): boolean =>
    isOutdated(draft, slot) && !slot.tasks.some((t) => t.specVersion === specVersion);
  if (!draft.occupiedSlots().some(isPending)) return;
  draft.setService({ updateStatus: begunUpdate(draft.context.nowMs) });
}

function step(draft: ServiceDraft): void {
  const { spec } = draft.service;
  const config = isRollback(draft.service) ? spec.rollbackConfig : spec.updateConfig;
  const slots = draft.occupiedSlots().map((slot) => progressOf(draft, slot, config));
  const failures = slots.flatMap((s) => s.failure ?? []);
  const touched = slots.filter((s) => s.touched).length;
  const [failed] = failures;
  if (
    failed !== undefined &&
    config.failureAction !== UpdateFailureAction.CONTINUE &&
    failures.length > config.maxFailureRatio * touched
  ) {
    stopUpdate(draft, failed, config);
    return;
  }
  startSlots(draft, slots, config);
  if (slots.some((s) => s.open)) sayWhatIsAwaited(draft, slots);
  else {
    draft.setService({ updateStatus: completedUpdate(draft.service, draft.context.nowMs) });
  }
}

function startSlots(
  draft: ServiceDraft,
  slots: readonly SlotProgress[],
  config: UpdateConfig,
): void {
  const occupied = slots.filter((s) => s.occupied).length;
  const room = (config.parallelism === 0 ? Infinity : config.parallelism) - occupied;
  if (room <= 0) return; // so it is most of the time, and there may be many slots
  for (const slot of byUrgency(draft, slots).slice(0, room)) {
    if (draft.isFull()) return;
    updateSlot(draft, slot, orderOf(draft, config));
  }
}

/** Slots that nothing has been done for yet. */
function byUrgency(draft: ServiceDraft, slots: readonly SlotProgress[]): Slot[] {
  const ranks: [Slot[], Slot[], Slot[]] = [[], [], []];
  for (const { slot, pending } of slots) if (pending) ranks[urgencyOf(draft, slot)].push(slot);
  return ranks.flat();
}

/** What does not run loses nothing by being updated; what has to leave its node is moved by it. */
function urgencyOf(draft: ServiceDraft, { tasks }: Slot): 0 | 1 | 2 {
  const serving = tasks.filter((t) => draft.serves(t));
  if (serving.length === 0) return 0;
  return serving.every((t) => leaveReasonOf(draft, t) !== undefined) ? 1 : 2;
}

/**
 * Start-first is a promise that nothing is missed meanwhile, so it is not broken where there is no room
 * for a second task: the update waits and says so. But two tasks with the same ports can never be on
 * one node, so where the node is the place, the old one has to end first.
 */
function orderOf({ service }: ServiceDraft, { order }: UpdateConfig): UpdateOrder {
  const cannotShare = isGlobal(service) && hostPortsOf(service).length > 0;
  return cannotShare ? UpdateOrder.STOP_FIRST : order;
}

function updateSlot(draft: ServiceDraft, slot: Slot, order: UpdateOrder): void {
  const cause = causeOfUpdate(draft.service);
  const old = slot.tasks.filter(isWantedTask);
  const last = old.at(-1) ?? slot.tasks.at(-1);
  const server = furthest(old.filter((t) => draft.serves(t)));
  const kept = order === UpdateOrder.START_FIRST ? server : undefined;
  for (const task of old.filter((t) => t !== kept)) {
    draft.setDesired(task, TaskState.SHUTDOWN, cause);
  }
  draft.create(slot.place, last === undefined ? { cause } : { cause, replaces: last });
}

function stopUpdate(draft: ServiceDraft, failed: Task, config: UpdateConfig): void {
  const { service, snapshot, context } = draft;
  const why = causeOfStop(failed, config);
  const { previousSpec } = service;
  const goesBack = config.failureAction === UpdateFailureAction.ROLLBACK && !isRollback(service);
  if (!goesBack || previousSpec === undefined) {
    draft.setService({ updateStatus: pausedUpdate(service, why) });
    return;
  }
  draft.setService(
    rollbackPatch({ ...service, previousSpec }, context.nowMs, `${ROLLED_BACK} ${why}`),
    `${causeOfRollback(snapshot, service, previousSpec)} ${why}`,
  );
}

/** Nothing is to stand still in silence: a new task that finds no node is the update's own message. */
function sayWhatIsAwaited(draft: ServiceDraft, slots: readonly SlotProgress[]): void {
  const { updateStatus } = draft.service;
  if (updateStatus?.state !== UpdateState.UPDATING) return; // a rollback says why it is one
  const wait = firstWait(draft, slots);
  const saysWait = updateStatus.message.startsWith(`${IN_PROGRESS}: `);
  if (wait === undefined && !saysWait) return;
  const message = wait === undefined ? IN_PROGRESS : `${IN_PROGRESS}: ${wait}`;
  if (updateStatus.message === message) return;
  draft.setService({ updateStatus: { ...updateStatus, message } });
}

function firstWait(draft: ServiceDraft, slots: readonly SlotProgress[]): string | undefined {
  for (const { slot, occupied } of slots) {
    if (!occupied) continue;
    const task = slot.tasks.findLast((t) => isAlive(t) && t.status.state === TaskState.PENDING);
    if (task === undefined || !draft.isPast(task.createdAtMs + WAITS_MS)) continue;
    const { message } = task.status;
    const name = nameOf(draft, task);
    if (!slot.tasks.some((t) => draft.serves(t))) return `${name} waits: ${message}`;
    return `start-first needs a second place for ${name}: ${message}; make room for it, or use order stop-first`;
  }
  return undefined;
}

/** "web.2", of a global service "web on n2". */
function nameOf({ snapshot }: ServiceDraft, task: Task): string {
  const node = snapshot.node(task.nodeId);
  if (task.slot > 0 || node === undefined) return placeName(task);
  return `${task.serviceName} on ${nodeLabel(node)}`;
}
