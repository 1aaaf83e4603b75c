import { newId } from '../../common/model/ids.js';
import { planReplicated } from '../core/orchestrator/plan-replicated.js';
import type { View, ViewChange } from '../view/view.js';
import type { Controller } from './controller.js';
import { applyAndSee, type LoopModules } from './loop.js';

/**
 * Owns tasks until they are allocated, and their desired state from beginning to end: the number
 * of replicas, rolling updates, restarts. One service at a time per key.
 */
export function replicatedController(modules: LoopModules): Controller {
  const { view, clock, random } = modules;
  return {
    name: 'replicated',
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
      return applyAndSee(modules, planReplicated(view, serviceId, context), signal);
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
      return new Set(view.tasksOfNode(change.object.id).map((t) => t.serviceId));
    default:
      return [];
  }
}
