import { HatobaError } from '../../../common/errors.js';
import type { Service, ServiceRevision, ServiceSpec } from '../../../common/model/objects.js';
import { equalData } from '../equal.js';
import type { Change, Snapshot } from '../snapshot.js';

/** Revisions that are kept beside the present one, where the spec names no number. */
export const DEFAULT_REVISION_LIMIT = 10;

/**
 * What goes into the transaction that writes `after`: its spec as a new revision, if it is another
 * one than `before`'s (undefined: the service is new). Each change of a spec makes a revision, by
 * whatever way it comes about.
 * @param cause for people: "updated", "rolled back to 3"
 */
export function revisionChanges(
  before: Service | undefined,
  after: Service,
  cause: string,
  nowMs: number,
): Change[] {
  if (before?.specVersion === after.specVersion) return [];
  return [{ action: 'create', kind: 'revision', object: revisionOf(after, cause, nowMs) }];
}

function revisionOf(service: Service, cause: string, nowMs: number): ServiceRevision {
  const { id: serviceId, specVersion: number, spec } = service;
  return {
    id: `${serviceId}/${number}`,
    version: 0,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    ...{ serviceId, number, spec, cause },
  };
}

/** "scaled to 5", where that is all; "restart requested"; else "updated". */
export function causeOfUpdate(before: ServiceSpec, after: ServiceSpec): string {
  const { mode, taskTemplate } = before;
  if (after.mode.$case === 'replicated' && equalData({ ...after, mode }, before)) {
    return `scaled to ${after.mode.value.replicas}`;
  }
  const { forceUpdate } = taskTemplate;
  const unforced = { ...after, taskTemplate: { ...after.taskTemplate, forceUpdate } };
  return equalData(unforced, before) ? 'restart requested' : 'updated';
}

/** "rolled back to 3", where 3 is the newest revision before the present with that spec. */
export function causeOfRollback(snapshot: Snapshot, service: Service, to: ServiceSpec): string {
  const former = snapshot
    .revisionsOfService(service.id)
    // Scaled since then, it is still that revision to whoever reads the history.
    .findLast((r) => r.number < service.specVersion && equalData({ ...r.spec, mode: to.mode }, to));
  return former === undefined ? 'rolled back' : `rolled back to ${former.number}`;
}

/** @throws {HatobaError} not-found, naming those there are */
export function findRevision(
  snapshot: Snapshot,
  { id, spec }: Service,
  number: number,
): ServiceRevision {
  const there = snapshot.revisionsOfService(id);
  const found = there.find((r) => r.number === number);
  if (found !== undefined) return found;
  const numbers = there.map((r) => r.number).join(', ');
  throw new HatobaError(
    'not-found',
    `service ${spec.name} has no revision ${number}: ` +
      (numbers === '' ? 'it has none' : `these exist: ${numbers}`),
  );
}

/** Those beyond the limit of the service, oldest first. */
export function expiredRevisions(snapshot: Snapshot, service: Service): readonly ServiceRevision[] {
  const former = snapshot
    .revisionsOfService(service.id)
    .filter((r) => r.number < service.specVersion);
  const limit = service.spec.revisionLimit ?? DEFAULT_REVISION_LIMIT;
  return former.slice(0, Math.max(0, former.length - limit));
}
