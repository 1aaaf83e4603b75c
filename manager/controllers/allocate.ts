import { isTerminal } from '../../common/model/task-state.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { planWaiting } from '../core/allocator/plan-allocation.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, WHOLE_CLUSTER, type LoopModules } from './loop.js';

/**
 * Owns the step NEW → PENDING where the orchestrator could not make it, the endpoints of services,
 * the addresses of single containers, and the subnets of networks that were made without.
 */
export function allocateController(modules: LoopModules): Controller {
  const { view, clock, ledger } = modules;
  return {
    name: 'allocate',
    watch: (enqueue) => {
      const look = (): void => enqueue(WHOLE_CLUSTER);
      look();
      return [
        ledger.onTakenBack(look),
        view.onChange((changes) => {
          if (changes.some(concernsAllocation)) look();
        }),
      ];
    },
    reconcile: (_key, signal) => {
      const plan = planWaiting(view, ledger.allocation, clock.nowMs());
      const given = { allocated: plan.groups.flat() };
      return ledger.writing(given, () => applyAndSee(modules, plan, signal), signal);
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
