import { isTerminal } from '../../common/model/task-state.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { planPending } from '../core/scheduler/schedule.js';
import { SchedulerState } from '../core/scheduler/state.js';
import type { Plan } from '../core/snapshot.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, debounced, WHOLE_CLUSTER, type LoopModules } from './loop.js';

/** Tasks that become pending within this time are placed together. */
const GATHER_MS = 10;

/**
 * Owns the step PENDING → ASSIGNED. One key and one worker: two passes at once could promise the
 * same memory twice.
 *
 * What it knows of the cluster is kept from pass to pass and fed with the changes of the view; it
 * is built anew with each resync.
 */
export function scheduleController(modules: LoopModules): Controller {
  const { view, clock } = modules;
  let state = new SchedulerState();

  /** Forgets what was decided and not written. */
  const showAsStored = (plan: Plan): void => {
    for (const { object } of plan.groups.flat()) {
      const stored = view.task(object.id);
      if (stored === undefined) state.deleteTask(object.id);
      else state.putTask(stored);
    }
  };
  return {
    name: 'schedule',
    watch: (enqueue) => {
      state = SchedulerState.of(view);
      enqueue(WHOLE_CLUSTER);
      const soon = debounced(clock, GATHER_MS, () => enqueue(WHOLE_CLUSTER));
      const unwatch = view.onChange((changes) => {
        for (const change of changes) follow(state, change);
        if (changes.some(concernsScheduling)) soon.call();
      });
      return [unwatch, soon.cancel];
    },
    reconcile: async (_key, signal) => {
      const plan = planPending(state, clock.nowMs());
      try {
        return await applyAndSee(modules, plan, signal);
      } finally {
        showAsStored(plan);
      }
    },
  };
}

function follow(state: SchedulerState, { type, kind, object }: ViewChange): void {
  if (kind === 'task') {
    if (type === 'put') state.putTask(object);
    else state.deleteTask(object.id);
  } else if (kind === 'node') {
    if (type === 'put') state.putNode(object);
    else state.deleteNode(object.id);
  }
}

/** What waits for a node, or may give it one. */
function concernsScheduling(change: ViewChange): boolean {
  if (change.kind === 'node') return true;
  if (change.kind !== 'task') return false;
  const { state } = change.object.status;
  return change.type === 'delete' || state === TaskState.PENDING || isTerminal(state);
}
