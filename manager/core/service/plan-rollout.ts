import { HatobaError } from '../../../common/errors.js';
import type { Service } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import { UpdateState, type UpdateStatus } from '../../../proto/gen/hatoba/v1/types.js';
import type { PlanContext } from '../plan-context.js';
import type { Snapshot } from '../snapshot.js';
import { existing, planUpdateService, type ServicePlan } from './plan-service-update.js';

/** A call on the rollout of one service. */
export interface RolloutRequest {
  serviceId: string;
  /** Of the service that the caller has seen; 0 is not checked. */
  version: number;
}

/**
 * Stops an update, or a rollback, where it is: tasks that were replaced stay so, no further ones are.
 * @throws {HatobaError} not-found; conflict; failed-precondition without one under way
 */
export function planPauseRollout(snapshot: Snapshot, request: RolloutRequest): ServicePlan {
  const service = existing(snapshot, request.serviceId, request.version);
  const status = underWay(service);
  const state = PAUSED[status.state];
  if (state === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `the update of service ${service.spec.name} is paused already: ${status.message}`,
    );
  }
  return withStatus(service, { ...status, state, message: 'paused by request' });
}

/**
 * Lets a paused update, or rollback, go on. The failures that it was paused for are forgiven; new
 * ones pause it again.
 * @throws {HatobaError} not-found; conflict; failed-precondition when nothing is paused
 */
export function planResumeRollout(
  snapshot: Snapshot,
  request: RolloutRequest,
  { nowMs }: PlanContext,
): ServicePlan {
  const service = existing(snapshot, request.serviceId, request.version);
  const status = underWay(service);
  const state = RESUMED[status.state];
  if (state === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `the update of service ${service.spec.name} is not paused: ${status.message}`,
    );
  }
  const what = state === UpdateState.UPDATING ? 'update' : 'rollback';
  const message = `${what} in progress, resumed by request`;
  return withStatus(service, { ...status, state, message, resumedAtMs: nowMs });
}

/**
 * Replaces all tasks by equal ones, by the rules of `updateConfig`.
 * @throws {HatobaError} not-found; conflict
 */
export function planRestartService(
  snapshot: Snapshot,
  request: RolloutRequest,
  context: PlanContext,
): ServicePlan {
  const { spec } = existing(snapshot, request.serviceId, request.version);
  const { taskTemplate } = spec;
  const restarted = { ...taskTemplate, forceUpdate: taskTemplate.forceUpdate + 1 };
  return planUpdateService(
    snapshot,
    { ...request, spec: { ...spec, taskTemplate: restarted } },
    context,
  );
}

const PAUSED: Partial<Record<UpdateState, UpdateState>> = {
  [UpdateState.UPDATING]: UpdateState.PAUSED,
  [UpdateState.ROLLBACK_STARTED]: UpdateState.ROLLBACK_PAUSED,
};
const RESUMED: Partial<Record<UpdateState, UpdateState>> = {
  [UpdateState.PAUSED]: UpdateState.UPDATING,
  [UpdateState.ROLLBACK_PAUSED]: UpdateState.ROLLBACK_STARTED,
};

/** @throws {HatobaError} failed-precondition when there is none, or it is over */
function underWay({ spec, updateStatus }: Service): UpdateStatus {
  const state = updateStatus?.state ?? UpdateState.UNKNOWN;
  if (updateStatus !== undefined && (PAUSED[state] ?? RESUMED[state]) !== undefined) {
    return updateStatus;
  }
  const last =
    state === UpdateState.UNKNOWN ? '' : ` (the last one is ${toWord(state).replace('_', ' ')})`;
  throw new HatobaError(
    'failed-precondition',
    `service ${spec.name} has no update under way${last}`,
  );
}

function withStatus(before: Service, updateStatus: UpdateStatus): ServicePlan {
  const service = { ...before, updateStatus };
  const plan = { groups: [[{ action: 'update', kind: 'service', object: service } as const]] };
  return { plan, service, problems: [] };
}
