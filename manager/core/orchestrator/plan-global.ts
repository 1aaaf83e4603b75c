import { endedByItself } from '../../../common/model/task-state.js';
import { UpdateState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import type { ServiceDraft } from './draft.js';
import { standingOf } from './node-standing.js';
import { planRestarts, promoteReady } from './plan-restart.js';
import { beginUpdate, planUpdate } from './plan-update.js';
import { isWantedTask, type Slot } from './slots.js';

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
  const { snapshot, service } = draft;
  const isFirst = service.specVersion === 1 && draft.slots().length === 0;
  for (const slot of draft.slots()) closePlace(draft, slot);
  for (const node of snapshot.nodes()) {
    if (standingOf(node, service.spec.taskTemplate.placement).is !== 'open') continue;
    const { tasks } = draft.slot(node.id);
    const newest = tasks.at(-1);
    if (newest === undefined) {
      const cause = isFirst ? 'service created' : `${nodeLabel(node)} can have one`;
      draft.create(node.id, { cause });
    } else if (!tasks.some(isWantedTask) && !endedByItself(newest)) {
      draft.create(node.id, { cause: `${nodeLabel(node)} can have one again` });
    }
  }
}

/** What becomes of the tasks of a node that is not open. */
function closePlace(draft: ServiceDraft, slot: Slot): void {
  const node = draft.snapshot.node(String(slot.place));
  if (node === undefined) {
    for (const task of slot.tasks) {
      draft.setDesired(task, TaskState.REMOVE, 'its node was removed');
    }
    draft.setAside(slot.place);
    return;
  }
  const standing = standingOf(node, draft.service.spec.taskTemplate.placement);
  if (standing.is === 'open') return;
  if (standing.is === 'unfit') {
    // What has ended by itself is left to the restart policy, for when the node is fit again.
    for (const task of slot.tasks.filter((t) => !endedByItself(t))) {
      draft.setDesired(task, TaskState.SHUTDOWN, standing.reason);
    }
  }
  draft.setAside(slot.place);
}

function isUpdateOver({ service }: ServiceDraft): boolean {
  const state = service.updateStatus?.state;
  return state === UpdateState.COMPLETED || state === UpdateState.ROLLBACK_COMPLETED;
}
