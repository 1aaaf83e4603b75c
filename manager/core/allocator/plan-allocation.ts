import type { Change, Plan, Snapshot } from '../snapshot.js';
import type { AddressCursors } from './addresses.js';
import { AllocationState } from './allocation-state.js';
import { Allocator } from './allocator.js';
import { planAttachments } from './plan-attachments.js';
import { planNetworks } from './plan-networks.js';

export type { AddressCursors };

/** The others have their turn when these are written. */
const MAX_TASKS_AT_ONCE = 5000;

export interface Allocation {
  plan: Plan;
  cursors: AddressCursors;
}

/**
 * Gives networks their subnets and numbers, services their virtual addresses and published ports,
 * containers of single nodes and new tasks their addresses (NEW → PENDING). What is in use is read
 * from the stored objects, so nothing can be given twice as long as the snapshot shows all that was
 * given before. An address is free again when the object that has it is gone. What cannot be given
 * is said in the message of the tasks that wait for it.
 */
export function planAllocation(
  snapshot: Snapshot,
  nowMs: number,
  cursors: AddressCursors = new Map(),
): Allocation {
  const state = AllocationState.of(snapshot, cursors);
  const plan = planWaiting(snapshot, state, nowMs);
  return { plan, cursors: state.addresses.cursors() };
}

/**
 * The same on a state that is kept. What is decided shows in it from now on, as if it were written:
 * whoever does not write it, or only in part, puts the objects into it as they are stored.
 */
export function planWaiting(snapshot: Snapshot, state: AllocationState, nowMs: number): Plan {
  const { group, problems } = planNetworks(snapshot);
  const allocator = new Allocator(snapshot, state, nowMs, problems);
  const services = [...snapshot.services()].sort(
    (a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1),
  );
  const changes: Change[] = [];
  for (const service of services) {
    const object = allocator.service(service);
    if (object !== undefined) changes.push({ action: 'update', kind: 'service', object });
  }
  changes.push(...planAttachments(snapshot, state.addresses));
  const before = changes.length;
  for (const task of state.waiting()) {
    if (changes.length - before >= MAX_TASKS_AT_ONCE) break;
    const object = allocator.task(task);
    if (object !== undefined) changes.push({ action: 'update', kind: 'task', object });
  }
  const networks = group.length > 0 ? [group] : [];
  const plan: Plan = { groups: [...networks, ...changes.map((change) => [change])] };
  return changes.length - before >= MAX_TASKS_AT_ONCE ? { ...plan, requeueAfterMs: 0 } : plan;
}
