import type { Node } from '../../../common/model/objects.js';
import { endedByItself } from '../../../common/model/task-state.js';
import { NodeState, TaskState, UpdateState } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { crowdedOut } from './crowded-out.js';
import type { ServiceDraft } from './draft.js';
import { standingOf, type Standing } from './node-standing.js';
import { planRestarts, promoteReady } from './plan-restart.js';
import { beginUpdate, planUpdate } from './plan-update.js';
import { isWantedTask, type Slot } from './slots.js';
import { isUpdating } from './update-status.js';
import { isAlive } from './worth.js';

/**
 * All that a service with one task on each node needs now: a task on each node that can take one,
 * none on those that no longer may have one, and of the rest what every service needs. What is on a
 * node that is down waits for it: it is not replaced elsewhere, and nothing happens to it when the
 * node comes back with it alive.
 */
export function planGlobal(draft: ServiceDraft): void {
  planPlaces(draft);
  planUpdate(draft);
  if (isUpdateOver(draft)) beginUpdate(draft); // a node that was away brought an old task
  planRestarts(draft);
  promoteReady(draft);
}

/**
 * A task on each node that is open, also where there was none before or the last one had to leave;
 * not where it ended by itself and its restart policy said no. Places of other nodes are set aside.
 */
export function planPlaces(draft: ServiceDraft): void {
  const { service, snapshot } = draft;
  const slots = draft.slots();
  const isFirst = service.specVersion === 1 && slots.length === 0;
  for (const slot of slots) {
    if (snapshot.node(String(slot.place)) !== undefined) continue;
    closePlace(draft, slot, TaskState.REMOVE, 'its node was removed');
  }
  for (const node of snapshot.nodes()) {
    const standing = standingTo(draft, node);
    judgePlace(draft, draft.slot(node.id), node, standing);
    if (standing.is === 'open') fillPlace(draft, node, isFirst);
  }
}

function fillPlace(draft: ServiceDraft, node: Node, isFirst: boolean): void {
  const tasks = draft.slot(node.id).tasks.filter((t) => t.desiredState !== TaskState.REMOVE);
  const newest = tasks.at(-1);
  const name = nodeLabel(node);
  if (newest === undefined) {
    draft.create(node.id, { cause: isFirst ? 'service created' : `${name} can have one` });
  } else if (!tasks.some(isWantedTask) && !endedByItself(newest)) {
    draft.create(node.id, { cause: `${name} can have one again` });
  }
}

function standingTo(draft: ServiceDraft, node: Node): Standing {
  const { placement } = draft.service.spec.taskTemplate;
  return standingOf(node, placement, (atMs) => draft.isPast(atMs));
}

function judgePlace(draft: ServiceDraft, slot: Slot, node: Node, standing: Standing): void {
  if (standing.is === 'unfit') {
    closePlace(draft, slot, TaskState.SHUTDOWN, standing.reason);
    return;
  }
  if (standing.is === 'closed') {
    if (!isBeingUpdated(draft, slot, node)) draft.setAside(slot.place);
    return;
  }
  const crowded = crowdedOut(node, draft.snapshot);
  const reason = `${nodeLabel(node)} has fewer resources than its tasks reserve`;
  for (const task of slot.tasks.filter((t) => crowded.has(t.id))) {
    draft.setDesired(task, TaskState.SHUTDOWN, reason);
  }
}

/**
 * Whether an update has begun here, on a node that is still heard of: it goes on with that, and has one
 * place less for others meanwhile.
 */
function isBeingUpdated(draft: ServiceDraft, slot: Slot, node: Node): boolean {
  if (!isUpdating(draft.service) || node.status.state === NodeState.DOWN) return false;
  const alive = slot.tasks.filter(isAlive);
  return alive.length > 1 || alive.some((t) => !draft.comparison.isDirty(t) && !draft.serves(t));
}

function closePlace(draft: ServiceDraft, slot: Slot, desired: TaskState, reason: string): void {
  for (const task of slot.tasks) {
    // What has ended by itself is left to the restart policy, for when the node is fit again.
    if (desired === TaskState.REMOVE || !endedByItself(task)) {
      draft.setDesired(task, desired, reason);
    }
  }
  draft.setAside(slot.place);
}

function isUpdateOver({ service }: ServiceDraft): boolean {
  const state = service.updateStatus?.state;
  return state === UpdateState.COMPLETED || state === UpdateState.ROLLBACK_COMPLETED;
}
