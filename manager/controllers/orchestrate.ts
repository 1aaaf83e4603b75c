import { newId } from '../../common/model/ids.js';
import { isGlobal } from '../../common/model/service-modes.js';
import { planService } from '../core/orchestrator/plan-service.js';
import { planNewTasks } from '../core/plan-new-tasks.js';
import type { View, ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, type LoopModules } from './loop.js';

/**
 * Owns the making of tasks, and their desired state from beginning to end: how many there are and
 * where, rolling updates, restarts, iterations of jobs. New tasks are given addresses and nodes in
 * the same write as far as there are any. One service at a time per key.
 */
export function orchestrateController(modules: LoopModules): Controller {
  const { view, clock, random, ledger } = modules;
  return {
    name: 'orchestrate',
    workers: 4,
    watch: (enqueue) => {
      for (const service of view.services()) enqueue(service.id);
      return [
        view.onChange((changes) => {
          for (const change of changes) for (const id of servicesTouched(view, change)) enqueue(id);
        }),
      ];
    },
    reconcile: (serviceId, signal) => {
      const context = { nowMs: clock.nowMs(), newId: () => newId(random) };
      const wanted = planService(view, serviceId, context);
      const { plan, ...given } = planNewTasks(wanted, view, ledger, context.nowMs);
      return ledger.writing(given, () => applyAndSee(modules, plan, signal), signal);
    },
  };
}

function servicesTouched(view: View, change: ViewChange): Iterable<string> {
  switch (change.kind) {
    case 'service':
      return [change.object.id];
    case 'task':
      return [change.object.serviceId];
    case 'node':
      return new Set([
        ...view.tasksOfNode(change.object.id).map((t) => t.serviceId),
        ...servicesOfAllNodes(view),
      ]);
    default:
      return [];
  }
}

/** Each node may be one to have a task of theirs, or to take one from another node. */
function servicesOfAllNodes(view: View): string[] {
  return [...view.services()].filter((s) => isGlobal(s) || s.spec.rebalance).map((s) => s.id);
}
