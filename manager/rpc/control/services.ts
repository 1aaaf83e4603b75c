import { newId } from '../../../common/model/ids.js';
import { STACK_LABEL } from '../../../common/model/labels.js';
import type { Service } from '../../../common/model/objects.js';
import { checkServiceSpec } from '../../../proto/wire/check.js';
import {
  planCreateService,
  planRemoveService,
  planRollbackService,
  planUpdateService,
  type ServicePlan,
} from '../../core/service/plan-service-update.js';
import { serviceStatusOf } from '../../core/service/service-status.js';
import type { Plan, Snapshot } from '../../core/snapshot.js';
import { writePlan } from '../write-plan.js';
import { present, refuseProblems, type ControlMethods, type ControlModules } from './methods.js';

export function serviceMethods(
  modules: ControlModules,
): ControlMethods<
  'createService' | 'listServices' | 'getService' | 'updateService' | 'removeService'
> {
  const { cluster, random } = modules;
  const { view } = cluster;
  const context = (newServiceId: string): { nowMs: number; newId: () => string } => ({
    nowMs: cluster.clock.nowMs(),
    newId: () => newServiceId,
  });
  return {
    createService: async (request, { signal }) => {
      const spec = checkServiceSpec(present(request.spec, 'spec'));
      const id = newId(random);
      await writePlan(
        cluster,
        // A repeated attempt finds what the one before it has made.
        () =>
          view.service(id) === undefined
            ? accepted(planCreateService(view, spec, context(id)))
            : undefined,
        signal,
      );
      return withStatus(view, view.findByPrefix('service', id));
    },

    listServices: ({ stack }) =>
      Promise.resolve({
        services: [...view.services()]
          .filter((s) => stack === '' || s.spec.labels[STACK_LABEL] === stack)
          .sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1))
          .map((s) => withStatus(view, s)),
      }),

    getService: (request) =>
      Promise.resolve(withStatus(view, view.findByPrefix('service', request.service))),

    updateService: async (request, { signal }) => {
      const { id: serviceId } = view.findByPrefix('service', request.service);
      const { version, rollback, rollbackTo: revision } = request;
      const spec = rollback ? undefined : checkServiceSpec(present(request.spec, 'spec'));
      await writePlan(
        cluster,
        () =>
          accepted(
            spec === undefined
              ? planRollbackService(view, { serviceId, version, revision }, context(''))
              : planUpdateService(view, { serviceId, version, spec }, context('')),
          ),
        signal,
      );
      return withStatus(view, view.findByPrefix('service', serviceId));
    },

    removeService: async (request, { signal }) => {
      const { id } = view.findByPrefix('service', request.service);
      await writePlan(
        cluster,
        () => (view.service(id) === undefined ? undefined : accepted(planRemoveService(view, id))),
        signal,
      );
      return {};
    },
  };
}

/**
 * The plan of a call that has no mistakes; undefined when there is nothing to write.
 * @throws {HatobaError} with all problems
 */
export function accepted({
  plan,
  problems,
}: Pick<ServicePlan, 'plan' | 'problems'>): Plan | undefined {
  refuseProblems(problems);
  return plan.groups.length === 0 ? undefined : plan;
}

/** With the numbers of its tasks, as users see a service. */
export function withStatus(snapshot: Snapshot, service: Service): Service {
  return { ...service, serviceStatus: serviceStatusOf(snapshot, service) };
}
