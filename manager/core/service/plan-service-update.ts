import { HatobaError } from '../../../common/errors.js';
import type { Network, Service, ServiceSpec } from '../../../common/model/objects.js';
import { UpdateState } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { NetworkRoom } from '../network/room.js';
import { isJob, scaledMode } from '../../../common/model/service-modes.js';
import { isOutdated } from '../orchestrator/update-progress.js';
import { begunUpdate, rollbackPatch } from '../orchestrator/update-status.js';
import { isOccupied, slotsOf } from '../orchestrator/slots.js';
import { SpecComparison } from '../orchestrator/spec-comparison.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import type { Problem } from '../validate/problem.js';
import { validateServiceSpec, withDefaults } from '../validate/service-spec.js';
import { withNextIteration } from './job-iterations.js';
import { causeOfRollback, causeOfUpdate, findRevision, revisionChanges } from './revisions.js';

/** What a call on one service comes to. With problems, the plan is empty. */
export interface ServicePlan {
  plan: Plan;
  /** As it will be stored. */
  service: Service;
  problems: readonly Problem[];
}

/** A new service, named networks replaced by their ids. */
export function planCreateService(
  snapshot: Snapshot,
  spec: ServiceSpec,
  context: PlanContext,
): ServicePlan {
  const full = withDefaults(spec);
  const service = newService(resolveNetworks(full, networkIds(snapshot)), context);
  const problems = orRoom(validateServiceSpec(full, snapshot), snapshot, service);
  if (problems.length > 0) return { plan: EMPTY_PLAN, service, problems };
  const change: Change = { action: 'create', kind: 'service', object: service };
  const groups = [[change, ...revisionChanges(undefined, service, 'created', context.nowMs)]];
  return { plan: { groups, guards: networkGuards(snapshot, [service]) }, service, problems };
}

/**
 * A changed spec; an equal one changes nothing.
 * @param version of the service the caller has seen; 0 is not checked
 * @throws {HatobaError} not-found; conflict when another write came between
 */
export function planUpdateService(
  snapshot: Snapshot,
  request: { serviceId: string; version: number; spec: ServiceSpec },
  context: PlanContext,
): ServicePlan {
  const service = existing(snapshot, request.serviceId, request.version);
  const full = withDefaults(request.spec);
  const spec = resolveNetworks(full, networkIds(snapshot));
  const found = validateServiceSpec(full, snapshot, { serviceId: service.id });
  const problems = orRoom(found, snapshot, { ...service, spec });
  if (problems.length > 0) return { plan: EMPTY_PLAN, service, problems };
  const changed = withSpec(snapshot, service, spec, context.nowMs);
  if (changed === undefined) return { plan: EMPTY_PLAN, service, problems };
  const cause = causeOfUpdate(service.spec, spec);
  return changedService(snapshot, changed, cause, context);
}

/**
 * Another number of replicas and nothing else.
 * @throws {HatobaError} not-found; conflict; failed-precondition when the mode has no replicas
 */
export function planScaleService(
  snapshot: Snapshot,
  request: { serviceId: string; version: number; replicas: number },
  context: PlanContext,
): ServicePlan {
  const service = existing(snapshot, request.serviceId, request.version);
  const mode = scaledMode(service.spec.mode, request.replicas);
  if (mode === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `service ${service.spec.name} has one task on each node, so it has no number of replicas to scale`,
    );
  }
  return planUpdateService(snapshot, { ...request, spec: { ...service.spec, mode } }, context);
}

/**
 * Back to a former spec, by the rules of `rollbackConfig`, as a new revision; to the previous one
 * again, and it is forward again.
 * @param request.revision number of the revision; absent = the previous spec
 * @throws {HatobaError} not-found, also of the revision; conflict; failed-precondition when there is
 * no previous spec
 */
export function planRollbackService(
  snapshot: Snapshot,
  request: { serviceId: string; version: number; revision?: number | undefined },
  context: PlanContext,
): ServicePlan {
  const service = existing(snapshot, request.serviceId, request.version);
  const { spec, cause } = rollbackTarget(snapshot, service, request.revision);
  if (equalData(spec, service.spec)) return { plan: EMPTY_PLAN, service, problems: [] };
  const found = validateServiceSpec(spec, snapshot, { serviceId: service.id });
  const problems = orRoom(found, snapshot, { ...service, spec });
  if (problems.length > 0) return { plan: EMPTY_PLAN, service, problems };
  const patch = rollbackPatch(
    { ...service, previousSpec: spec },
    context.nowMs,
    'rollback requested',
  );
  const changed = withNextIteration({ ...service, ...patch }, context.nowMs);
  return changedService(snapshot, changed, cause, context);
}

function rollbackTarget(
  snapshot: Snapshot,
  service: Service,
  number: number | undefined,
): { spec: ServiceSpec; cause: string } {
  if (number !== undefined) {
    const { spec } = findRevision(snapshot, service, number);
    return { spec, cause: `rolled back to ${number}` };
  }
  const { previousSpec } = service;
  if (previousSpec === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `service ${service.spec.name} was never updated, so there is nothing to roll back to`,
    );
  }
  return { spec: previousSpec, cause: causeOfRollback(snapshot, service, previousSpec) };
}

/**
 * Marks the service; its tasks stop, and the reaper removes it when they are gone.
 * @throws {HatobaError} not-found
 */
export function planRemoveService(snapshot: Snapshot, serviceId: string): ServicePlan {
  const service = existing(snapshot, serviceId, 0);
  if (service.pendingDelete) return { plan: EMPTY_PLAN, service, problems: [] };
  const object = { ...service, pendingDelete: true };
  const groups = [[{ action: 'update', kind: 'service', object } as const]];
  return { plan: { groups }, service: object, problems: [] };
}

/** The problems found; without any, whether the service's networks have room for it. */
function orRoom(
  found: readonly Problem[],
  snapshot: Snapshot,
  service: Service,
): readonly Problem[] {
  return found.length > 0 ? found : new NetworkRoom(snapshot).check(service);
}

/**
 * The service a call is about.
 * @param version that the caller has seen; 0 is not checked
 * @throws {HatobaError} not-found; conflict
 */
export function existing(snapshot: Snapshot, serviceId: string, version: number): Service {
  const service = snapshot.service(serviceId);
  if (service === undefined) throw new HatobaError('not-found', `there is no service ${serviceId}`);
  if (version !== 0 && version !== service.version) {
    throw new HatobaError(
      'conflict',
      `service ${service.spec.name} was changed meanwhile (it has version ${service.version}, ` +
        `the update is for ${version}): read it again`,
    );
  }
  return service;
}

/** Writes a changed service, and its spec as a revision if that changed. */
function changedService(
  snapshot: Snapshot,
  service: Service,
  cause: string,
  { nowMs }: PlanContext,
): ServicePlan {
  const change: Change = { action: 'update', kind: 'service', object: service };
  const before = snapshot.service(service.id);
  const groups = [[change, ...revisionChanges(before, service, cause, nowMs)]];
  return {
    plan: { groups, guards: networkGuards(snapshot, [service]) },
    service,
    problems: [],
  };
}

export function newService(spec: ServiceSpec, context: PlanContext): Service {
  const service: Service = {
    id: context.newId(),
    version: 0,
    createdAtMs: context.nowMs,
    updatedAtMs: context.nowMs,
    spec,
    previousSpec: undefined,
    specVersion: 1,
    endpoint: { spec: undefined, ports: [], virtualIps: [] },
    updateStatus: undefined,
    pendingDelete: false,
    serviceStatus: undefined,
    jobStatus: undefined,
  };
  return withNextIteration(service, context.nowMs);
}

/**
 * The service with another spec, undefined when it is the same. If tasks have to be replaced, the
 * update begins here, so that no reader sees the new spec without it. Scaling alone leaves an
 * unfinished or paused update as it is, and what that would roll back to.
 */
export function withSpec(
  snapshot: Snapshot,
  service: Service,
  spec: ServiceSpec,
  nowMs: number,
): Service | undefined {
  if (equalData(spec, service.spec)) return undefined;
  const next = {
    ...service,
    spec,
    previousSpec: service.spec,
    specVersion: service.specVersion + 1,
  };
  if (isJob(next)) return withNextIteration(next, nowMs);
  const { updateStatus, previousSpec } = service;
  const scalesOnly = equalData({ ...spec, mode: service.spec.mode }, service.spec);
  if (scalesOnly && previousSpec !== undefined && isUnfinished(updateStatus?.state)) {
    return { ...next, previousSpec: { ...previousSpec, mode: spec.mode } };
  }
  return { ...next, updateStatus: needsUpdate(snapshot, next) ? begunUpdate(nowMs) : undefined };
}

function isUnfinished(state: UpdateState | undefined): boolean {
  switch (state) {
    case undefined:
    case UpdateState.UNKNOWN:
    case UpdateState.COMPLETED:
    case UpdateState.ROLLBACK_COMPLETED:
      return false;
    case UpdateState.UPDATING:
    case UpdateState.PAUSED:
    case UpdateState.ROLLBACK_STARTED:
    case UpdateState.ROLLBACK_PAUSED:
      return true;
  }
}

function needsUpdate(snapshot: Snapshot, next: Service): boolean {
  const comparison = new SpecComparison(snapshot, next);
  return slotsOf(snapshot.tasksOfService(next.id))
    .filter(isOccupied)
    .some((s) => isOutdated({ comparison }, s));
}

/** Network names → ids. */
export function networkIds(snapshot: Snapshot): Map<string, string> {
  return new Map([...snapshot.networks()].map((n) => [n.spec.name, n.id]));
}

/** The spec with the ids of its networks; a target that is no known name is left as it is. */
export function resolveNetworks(spec: ServiceSpec, ids: ReadonlyMap<string, string>): ServiceSpec {
  const { taskTemplate } = spec;
  const networks = taskTemplate.networks.map((n) => ({
    ...n,
    target: ids.get(n.target) ?? n.target,
  }));
  return { ...spec, taskTemplate: { ...taskTemplate, networks } };
}

/** A service may not come to use a network that is being removed at the same moment. */
export function networkGuards(
  snapshot: Snapshot,
  services: readonly Service[],
): { kind: 'network'; object: Network }[] {
  const ids = new Set(services.flatMap((s) => s.spec.taskTemplate.networks.map((n) => n.target)));
  return [...ids].sort().flatMap((id) => {
    const object = snapshot.network(id);
    return object === undefined ? [] : [{ kind: 'network' as const, object }];
  });
}
