import type { Service, ServiceRevision } from '../../../common/model/objects.js';
import { UpdateState, type UpdateStatus } from '../../../proto/gen/hatoba/v1/types.js';
import { serviceEvent, type Happening, type Names, type NewEvent } from './new-event.js';

/**
 * What the change of a service says; that its spec changed, its new revision says.
 * @param before undefined: it is new, or was not seen before
 */
export function eventsOfService(before: Service | undefined, after: Service): NewEvent[] {
  return [created(before, after), rollout(before, after), removing(before, after)].flatMap(
    (what) => (what === undefined ? [] : serviceEvent(after, what)),
  );
}

export function eventsOfRemovedService(service: Service): NewEvent[] {
  const message = 'all of its tasks are gone';
  return [serviceEvent(service, { reason: 'Removed', message, atMs: service.updatedAtMs })];
}

/** A new revision: the service was updated, scaled or rolled back. Its first is its creation. */
export function eventsOfNewRevision(revision: ServiceRevision, names: Names): NewEvent[] {
  const { serviceId, number, spec, cause, createdAtMs: atMs } = revision;
  if (number === 1) return [];
  const former = names.revisionsOfService(serviceId).findLast((r) => r.number < number);
  const image = spec.taskTemplate.containerSpec.image;
  const formerImage = former?.spec.taskTemplate.containerSpec.image ?? image;
  const change = image === formerImage ? '' : `, image ${formerImage} → ${image}`;
  const what = {
    reason: cause.startsWith('scaled ') ? 'Scaled' : 'Updated',
    message: `revision ${number}: ${cause}${change}`,
    atMs,
  };
  return [serviceEvent({ id: serviceId, spec }, what)];
}

function created(before: Service | undefined, after: Service): Happening | undefined {
  if (before !== undefined) return undefined;
  const message = `image ${after.spec.taskTemplate.containerSpec.image}`;
  return { reason: 'Created', message, atMs: after.createdAtMs };
}

function removing(before: Service | undefined, after: Service): Happening | undefined {
  const was = before?.pendingDelete ?? false;
  if (was === after.pendingDelete) return undefined;
  const atMs = after.updatedAtMs;
  return after.pendingDelete
    ? { reason: 'Removing', message: 'its tasks are stopped first', atMs }
    : { reason: 'Restored', message: 'wanted again before it was gone', atMs };
}

function rollout(before: Service | undefined, after: Service): Happening | undefined {
  const [was, is] = [before?.updateStatus, after.updateStatus];
  if (is === undefined) return undefined;
  const isSame = was?.state === is.state && was.startedAtMs === is.startedAtMs;
  if (isSame && was.resumedAtMs === is.resumedAtMs) return undefined;
  const reason = is.resumedAtMs > (was?.resumedAtMs ?? 0) ? 'UpdateResumed' : WORDS[is.state];
  if (reason === undefined) return undefined;
  const isWarning = !isAsWished(is);
  const message = `revision ${after.specVersion}: ${is.message}`;
  return { reason, message, isWarning, atMs: timeOf(is, after) };
}

const WORDS: Partial<Record<UpdateState, string>> = {
  [UpdateState.UPDATING]: 'UpdateStarted',
  [UpdateState.PAUSED]: 'UpdatePaused',
  [UpdateState.COMPLETED]: 'UpdateCompleted',
  [UpdateState.ROLLBACK_STARTED]: 'RollbackStarted',
  [UpdateState.ROLLBACK_PAUSED]: 'RollbackPaused',
  [UpdateState.ROLLBACK_COMPLETED]: 'RollbackCompleted',
};

/** Whether it went as somebody asked. */
function isAsWished({ state, message }: UpdateStatus): boolean {
  const mayBeWished =
    state === UpdateState.PAUSED ||
    state === UpdateState.ROLLBACK_PAUSED ||
    state === UpdateState.ROLLBACK_STARTED;
  return !mayBeWished || /\b(by request|requested)\b/.test(message);
}

function timeOf({ state, startedAtMs, completedAtMs }: UpdateStatus, service: Service): number {
  if (completedAtMs > 0) return completedAtMs;
  const isStart = state === UpdateState.UPDATING || state === UpdateState.ROLLBACK_STARTED;
  return isStart ? startedAtMs : service.updatedAtMs;
}
