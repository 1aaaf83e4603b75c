import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import type { Plan, Snapshot } from '../snapshot.js';
import { ServiceDraft } from './draft.js';
import { planGlobal } from './plan-global.js';
import { planGlobalJob, planReplicatedJob } from './plan-job.js';
import { planReplicated } from './plan-replicated.js';

/**
 * All that one service needs now, by its mode. A service that was removed has all its tasks removed.
 * An unknown id: nothing.
 */
export function planService(snapshot: Snapshot, serviceId: string, context: PlanContext): Plan {
  const service = snapshot.service(serviceId);
  if (service === undefined) return EMPTY_PLAN;
  const { mode } = service.spec;
  if (mode.$case === 'replicated') return planReplicated(snapshot, serviceId, context);
  const draft = new ServiceDraft(snapshot, service, context);
  if (service.pendingDelete) removeAll(draft);
  else if (mode.$case === 'global') planGlobal(draft);
  else if (mode.$case === 'globalJob') planGlobalJob(draft);
  else planReplicatedJob(draft, mode.value);
  return draft.toPlan();
}

function removeAll(draft: ServiceDraft): void {
  for (const slot of draft.slots()) {
    for (const task of slot.tasks) {
      draft.setDesired(task, TaskState.REMOVE, 'its service was removed');
    }
  }
}
