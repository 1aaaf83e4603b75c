import { placeName } from '../../../common/model/task-place.js';
import { TaskState, UpdateOrder } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { pickMove, type Move } from '../scheduler/imbalance.js';
import type { ServiceDraft } from './draft.js';
import { hasEnded, isWantedTask, type Slot } from './slots.js';
import { progressDeadlineMs } from './update-progress.js';
import { isPaused, isUpdating } from './update-status.js';
import { isAlive, leaveReasonOf, originFor, runningSinceMs } from './worth.js';

/** A move that came to nothing says that the next one might not either, for so long. */
const RETRY_MS = 10 * 60_000;
/** A task may wait so long for the node it was moved to, if nothing serves in its place meanwhile. */
const GRACE_MS = 3000;

/** A node that came so lately may be gone as soon. */
const STEADY_MS = 10_000;
/** Room that other services leave tells nobody of itself. */
const LOOK_AGAIN_MS = 60_000;

/**
 * Moves one task of a service that wishes it to a node that has fewer of them, by the rules of its
 * updates, and the next one when that has run for their delay and monitor period. Each move is to a
 * certain node and evens the service out, so after as many as there are tasks at most it is at rest.
 */
export function planRebalance(draft: ServiceDraft): void {
  const { service, snapshot, context } = draft;
  for (const slot of draft.slots()) giveUpStuck(draft, slot);
  if (!service.spec.rebalance || isUpdating(service) || isPaused(service)) return;
  if (!draft.slots().every((slot) => isAtRest(draft, slot))) return;
  const move = pickMove(snapshot, service, context.nowMs);
  if (move === undefined) draft.wakeAt(context.nowMs + LOOK_AGAIN_MS);
  else start(draft, move);
}

function start(draft: ServiceDraft, { task, nodeId }: Move): void {
  const [from, to] = [task.nodeId, nodeId].map((id) => draft.snapshot.node(id));
  if (from === undefined || to === undefined) return;
  if (!draft.isPast(to.status.stateChangedAtMs + STEADY_MS)) return;
  const cause = `rebalanced from ${nodeLabel(from)} to ${nodeLabel(to)}`;
  const options = { cause, origin: originFor(draft, task), replaces: task, nodeId };
  if (draft.service.spec.updateConfig.order === UpdateOrder.STOP_FIRST) {
    draft.setDesired(task, TaskState.SHUTDOWN, cause);
  }
  draft.create(task.slot, { ...options, takesOver: true });
}

/**
 * Whether the slot has one task, which has proven itself where it is, and nothing speaks against a
 * move; or none any more, because its restart policy has given up.
 */
function isAtRest(draft: ServiceDraft, { tasks }: Slot): boolean {
  if (tasks.every((t) => hasEnded(t) && !isWantedTask(t))) return true;
  const [task, ...others] = tasks.filter((t) => !hasEnded(t) && !draft.isLost(t));
  if (task === undefined || others.length > 0) return false;
  if (!draft.serves(task) || draft.comparison.isDirty(task)) return false;
  if (leaveReasonOf(draft, task) !== undefined) return false;
  const newest = tasks.at(-1);
  const cameToNothing = newest?.takesOver === true && newest !== task;
  if (cameToNothing && !draft.isPast(newest.desiredSinceMs + RETRY_MS)) return false;
  const { delayMs, monitorMs } = draft.service.spec.updateConfig;
  return draft.isPast(runningSinceMs(task) + Math.max(delayMs, monitorMs));
}

/**
 * A moved task that its new node has no room for any more: the old one serves on alone or, if that has
 * ended, another takes the place wherever there is room.
 */
function giveUpStuck(draft: ServiceDraft, { place, tasks }: Slot): void {
  const task = tasks.findLast((t) => t.takesOver && isAlive(t) && t.status.runningAtMs === 0);
  if (task === undefined) return;
  const isServed = tasks.some((t) => draft.serves(t));
  const waitsForNode = task.status.state === TaskState.PENDING;
  if (!isServed && !waitsForNode) return;
  const patienceMs = isServed ? progressDeadlineMs(draft.service.spec.updateConfig) : GRACE_MS;
  if (patienceMs === 0 || !draft.isPast(task.createdAtMs + patienceMs)) return;
  const reason = `${placeName(task)} did not come up there: ${task.status.err || task.status.message}`;
  draft.setDesired(task, TaskState.SHUTDOWN, reason);
  if (!isServed) draft.create(place, { cause: reason, origin: task, replaces: task });
}
