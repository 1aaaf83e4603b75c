import type { Service } from '../../../common/model/objects.js';
import { UpdateState, type UpdateStatus } from '../../../proto/gen/hatoba/v1/types.js';

/** What an update says of itself while all goes well. */
export const IN_PROGRESS = 'update in progress';
/** How a rollback begins to say why it is one, if nobody has asked for it. */
export const ROLLED_BACK = 'update rolled back';

export function stateOf({ updateStatus }: Pick<Service, 'updateStatus'>): UpdateState {
  return updateStatus?.state ?? UpdateState.UNKNOWN;
}

/** Whether an update or a rollback is under way. */
export function isUpdating(service: Pick<Service, 'updateStatus'>): boolean {
  const state = stateOf(service);
  return state === UpdateState.UPDATING || state === UpdateState.ROLLBACK_STARTED;
}

/** Whether an update or a rollback stands still, by request or for a failure. */
export function isPaused(service: Pick<Service, 'updateStatus'>): boolean {
  const state = stateOf(service);
  return state === UpdateState.PAUSED || state === UpdateState.ROLLBACK_PAUSED;
}

/** Whether what is under way, or paused, is the way back. */
export function isRollback(service: Pick<Service, 'updateStatus'>): boolean {
  const state = stateOf(service);
  return state === UpdateState.ROLLBACK_STARTED || state === UpdateState.ROLLBACK_PAUSED;
}

export function begunUpdate(nowMs: number): UpdateStatus {
  return {
    ...{ state: UpdateState.UPDATING, message: IN_PROGRESS },
    ...{ startedAtMs: nowMs, completedAtMs: 0, resumedAtMs: 0 },
  };
}

export function completedUpdate(service: Service, nowMs: number): UpdateStatus {
  const back = isRollback(service);
  return {
    state: back ? UpdateState.ROLLBACK_COMPLETED : UpdateState.COMPLETED,
    startedAtMs: service.updateStatus?.startedAtMs ?? 0,
    completedAtMs: nowMs,
    resumedAtMs: 0,
    message: back ? rollbackCompleted(service) : 'update completed',
  };
}

/** Who comes late is still to learn what was wrong with the update. */
function rollbackCompleted({ updateStatus }: Service): string {
  const { message = '' } = updateStatus ?? {};
  return message.startsWith(ROLLED_BACK) ? `rollback completed: ${message}` : 'rollback completed';
}

/** @param why "due to …" */
export function pausedUpdate(service: Service, why: string): UpdateStatus {
  const back = isRollback(service);
  return {
    state: back ? UpdateState.ROLLBACK_PAUSED : UpdateState.PAUSED,
    startedAtMs: service.updateStatus?.startedAtMs ?? 0,
    completedAtMs: 0,
    resumedAtMs: 0,
    message: `${back ? 'rollback' : 'update'} paused ${why}`,
  };
}

/** What a rollback changes: the two specs swap places, as a new version of the spec. */
export function rollbackPatch(
  service: Service & { previousSpec: Service['spec'] },
  nowMs: number,
  message: string,
): Pick<Service, 'spec' | 'previousSpec' | 'specVersion' | 'updateStatus'> {
  return {
    spec: service.previousSpec,
    previousSpec: service.spec,
    specVersion: service.specVersion + 1,
    updateStatus: {
      ...{ state: UpdateState.ROLLBACK_STARTED, message },
      ...{ startedAtMs: nowMs, completedAtMs: 0, resumedAtMs: 0 },
    },
  };
}
