import { isTerminal } from '../../common/model/task-state.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { pendingTasks, planSchedule } from '../core/scheduler/schedule.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, debounced, WHOLE_CLUSTER, type LoopModules } from './loop.js';

/** Tasks that become pending within this time are placed together. */
const GATHER_MS = 10;

/**
 * Owns the step PENDING → ASSIGNED. One key and one worker: two passes at once could promise the
 * same memory twice.
 */
export function scheduleController(modules: LoopModules): Controller {
  const { view, clock } = modules;
  return {
    name: 'schedule',
    watch: (enqueue) => {
      enqueue(WHOLE_CLUSTER);
      const soon = debounced(clock, GATHER_MS, () => enqueue(WHOLE_CLUSTER));
      const unwatch = view.onChange((changes) => {
        if (changes.some(concernsScheduling)) soon.call();
      });
      return [unwatch, soon.cancel];
    },
    reconcile: (_key, signal) => {
      const plan = planSchedule(view, pendingTasks(view), clock.nowMs());
      return applyAndSee(modules, plan, signal);
    },
  };
}

/** What waits for a node, or may give it one. */
function concernsScheduling(change: ViewChange): boolean {
  if (change.kind === 'node') return true;
  if (change.kind !== 'task') return false;
  const { state } = change.object.status;
  return change.type === 'delete' || state === TaskState.PENDING || isTerminal(state);
}
