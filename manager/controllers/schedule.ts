import type { Task } from '../../common/model/objects.js';
import { isTerminal } from '../../common/model/task-state.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { planPending } from '../core/scheduler/schedule.js';
import type { ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, debounced, WHOLE_CLUSTER, type LoopModules } from './loop.js';

/** Tasks that become pending within this time are placed together. */
const GATHER_MS = 10;

/** What waits is planned and written in parts of so many, so that nothing else stands still. */
const MAX_AT_ONCE = 5000;

/** Owns the step PENDING → ASSIGNED where the orchestrator could not make it. */
export function scheduleController(modules: LoopModules): Controller {
  const { view, clock, ledger } = modules;
  return {
    name: 'schedule',
    watch: (enqueue) => {
      enqueue(WHOLE_CLUSTER);
      const soon = debounced(clock, GATHER_MS, () => enqueue(WHOLE_CLUSTER));
      const unwatch = view.onChange((changes) => {
        if (changes.some(concernsScheduling)) soon.call();
      });
      return [unwatch, ledger.onTakenBack(soon.call), soon.cancel];
    },
    reconcile: async (_key, signal) => {
      const waiting = inOrder(ledger.scheduler.pending());
      for (let i = 0; i < waiting.length; i += MAX_AT_ONCE) {
        const part = waiting.slice(i, i + MAX_AT_ONCE).flatMap(({ id }) => view.task(id) ?? []);
        const pending = part.filter((task) => ledger.scheduler.isPending(task));
        const plan = planPending(ledger.scheduler, clock.nowMs(), pending);
        const given = { scheduled: plan.groups.flat() };
        await ledger.writing(given, () => applyAndSee(modules, plan, signal), signal);
      }
    },
  };
}

/** What waits for a node, may give it one, or can be made to give way to it. */
function concernsScheduling(change: ViewChange): boolean {
  if (change.kind === 'node') return true;
  if (change.kind !== 'task') return false;
  const { state } = change.object.status;
  if (change.type === 'delete' || change.previous === undefined) return true;
  return state === TaskState.PENDING || isTerminal(state);
}

/** The highest priority first, then those that wait longest. */
function inOrder(tasks: Task[]): Task[] {
  return tasks.sort((a, b) => b.spec.priority - a.spec.priority || a.createdAtMs - b.createdAtMs);
}
