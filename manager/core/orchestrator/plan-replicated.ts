import type { Service } from '../../../common/model/objects.js';
import { comparePlaces } from '../../../common/model/task-place.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import type { Plan, Snapshot } from '../snapshot.js';
import { Heap } from '../scheduler/heap.js';
import { ServiceDraft } from './draft.js';
import { planRebalance } from './plan-rebalance.js';
import { planRestarts, promoteReady, refillPlaces } from './plan-restart.js';
import { planUpdate } from './plan-update.js';
import type { Slot } from './slots.js';

/**
 * All that one replicated service needs now: the wanted number of slots, a rolling update's next
 * step, replacements for tasks that cannot go on. A service that was removed has all its tasks
 * removed. Services of other modes and unknown ids: nothing.
 */
export function planReplicated(snapshot: Snapshot, serviceId: string, context: PlanContext): Plan {
  const service = snapshot.service(serviceId);
  if (service?.spec.mode.$case !== 'replicated') return EMPTY_PLAN;
  const draft = new ServiceDraft(snapshot, service, context);
  if (service.pendingDelete) {
    for (const slot of draft.slots()) removeSlot(draft, slot, 'its service was removed');
    return draft.toPlan();
  }
  planScale(draft, replicasOf(service));
  planUpdate(draft);
  planRestarts(draft);
  refillPlaces(draft);
  planRebalance(draft);
  promoteReady(draft);
  return draft.toPlan();
}

/** How many tasks the service is to have. */
export function replicasOf(service: Pick<Service, 'spec'>): number {
  const { mode } = service.spec;
  return mode.$case === 'replicated' ? mode.value.replicas : 0;
}

/**
 * Brings the number of occupied slots to `replicas`. New ones take the lowest free numbers; tasks
 * that stay are not touched.
 */
function planScale(draft: ServiceDraft, replicas: number): void {
  const occupied = draft.occupiedSlots();
  for (const slot of pickSurplus(draft, occupied, occupied.length - replicas)) {
    removeSlot(draft, slot, `scaled down to ${replicas}`);
  }
  const cause = isFirst(draft) ? 'service created' : `scaled up to ${replicas}`;
  const taken = new Set(occupied.map((s) => s.place));
  let number = 1;
  for (let missing = replicas - occupied.length; missing > 0; missing--) {
    if (draft.isFull()) return;
    while (taken.has(number)) number++;
    draft.create(number++, { cause });
  }
}

/** Whether it is as it was created. */
function isFirst({ service }: ServiceDraft): boolean {
  return service.specVersion === 1;
}

function removeSlot(draft: ServiceDraft, slot: Slot, reason: string): void {
  for (const task of slot.tasks) draft.setDesired(task, TaskState.REMOVE, reason);
}

/**
 * The slots to give up: first those that do not run, then, one by one, from the node that has most
 * of the service's running tasks; of equals the higher number.
 */
function pickSurplus(draft: ServiceDraft, slots: readonly Slot[], count: number): Slot[] {
  if (count <= 0) return [];
  const idle: Slot[] = [];
  const byNode = new Map<string, Slot[]>(); // each in order of slot number
  for (const slot of slots) {
    const node = slot.tasks.find((t) => draft.serves(t))?.nodeId;
    if (node === undefined) idle.push(slot);
    else (byNode.get(node) ?? newList(byNode, node)).push(slot);
  }
  const picked = idle.reverse().slice(0, count);
  const nodes = new Heap([...byNode.values()], fullestFirst);
  for (let node = nodes.top(); picked.length < count; node = nodes.top()) {
    const slot = node?.pop();
    if (node === undefined || slot === undefined) break;
    picked.push(slot);
    nodes.replaceTop(node);
  }
  return picked;
}

function fullestFirst(a: readonly Slot[], b: readonly Slot[]): number {
  return b.length - a.length || comparePlaces(b.at(-1)?.place ?? 0, a.at(-1)?.place ?? 0);
}

function newList(byNode: Map<string, Slot[]>, node: string): Slot[] {
  const list: Slot[] = [];
  byNode.set(node, list);
  return list;
}
