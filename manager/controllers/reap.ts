import { isTerminal, isWanted } from '../../common/model/task-state.js';
import { planReap } from '../core/plan-reap.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, debounced, WHOLE_CLUSTER, type LoopModules } from './loop.js';

const GATHER_MS = 50;

/** Owns the end of objects: tasks that have served, and what was removed and is used no more. */
export function reapController(modules: LoopModules): Controller {
  const { view, clock } = modules;
  return {
    name: 'reap',
    watch: (enqueue) => {
      enqueue(WHOLE_CLUSTER);
      const soon = debounced(clock, GATHER_MS, () => enqueue(WHOLE_CLUSTER));
      const unwatch = view.onChange((changes) => {
        if (changes.some(concernsReaping)) soon.call();
      });
      return [unwatch, soon.cancel];
    },
    reconcile: (_key, signal) => applyAndSee(modules, planReap(view, clock.nowMs()), signal),
  };
}

function concernsReaping(change: ViewChange): boolean {
  if (change.kind !== 'task') return true;
  const { desiredState, status } = change.object;
  return change.type === 'delete' || !isWanted(desiredState) || isTerminal(status.state);
}
