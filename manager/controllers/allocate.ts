import { isTerminal } from '../../common/model/task-state.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { planAllocation, type AddressCursors } from '../core/allocator/plan-allocation.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, WHOLE_CLUSTER, type LoopModules } from './loop.js';

/**
 * Owns the step NEW → PENDING, the endpoints of services, the addresses of single containers, and
 * the subnets of networks that were made without. One key and
 * one worker: two passes at once could give one address twice.
 */
export function allocateController(modules: LoopModules): Controller {
  const { view, clock } = modules;
  let cursors: AddressCursors = new Map(); // only a hint, see planAllocation
  return {
    name: 'allocate',
    watch: (enqueue) => {
      enqueue(WHOLE_CLUSTER);
      return [
        view.onChange((changes) => {
          if (changes.some(concernsAllocation)) enqueue(WHOLE_CLUSTER);
        }),
      ];
    },
    reconcile: (_key, signal) => {
      const allocation = planAllocation(view, clock.nowMs(), cursors);
      cursors = allocation.cursors;
      return applyAndSee(modules, allocation.plan, signal);
    },
  };
}

const ALWAYS: ReadonlySet<ViewChange['kind']> = new Set([
  'network',
  'service',
  'cluster',
  'attachment',
]);

/** What waits for addresses, asks for others, or gives some back. */
function concernsAllocation(change: ViewChange): boolean {
  if (ALWAYS.has(change.kind)) return true;
  if (change.kind !== 'task') return false;
  const { state } = change.object.status;
  return change.type === 'delete' || state === TaskState.NEW || isTerminal(state);
}
