import type { Service } from '../../../common/model/objects.js';
import type { RolloutRequest } from '../../../proto/gen/hatoba/v1/control.js';
import type { CallContext } from '../../../proto/wire/service.js';
import {
  planPauseRollout,
  planRestartService,
  planResumeRollout,
} from '../../core/service/plan-rollout.js';
import type { ServicePlan } from '../../core/service/plan-service-update.js';
import { writePlan } from '../write-plan.js';
import type { ControlMethods, ControlModules } from './methods.js';
import { accepted, withStatus } from './services.js';

/** What becomes of a service's tasks when its spec changes, and the specs it has had. */
export function rolloutMethods({
  cluster,
}: ControlModules): ControlMethods<
  'pauseRollout' | 'resumeRollout' | 'restartService' | 'listRevisions'
> {
  const { view } = cluster;
  const context = (): { nowMs: number; newId: () => string } => ({
    nowMs: cluster.clock.nowMs(),
    newId: () => '', // nothing is made but a revision, whose id is its number
  });
  type Decide = (request: { serviceId: string; version: number }) => ServicePlan;
  const changing =
    (decide: Decide) =>
    async ({ service, version }: RolloutRequest, { signal }: CallContext): Promise<Service> => {
      const { id: serviceId } = view.findByPrefix('service', service);
      await writePlan(cluster, () => accepted(decide({ serviceId, version })), signal);
      return withStatus(view, view.findByPrefix('service', serviceId));
    };
  return {
    pauseRollout: changing((request) => planPauseRollout(view, request)),
    resumeRollout: changing((request) => planResumeRollout(view, request, context())),
    restartService: changing((request) => planRestartService(view, request, context())),
    listRevisions: ({ service }) => {
      const { id } = view.findByPrefix('service', service);
      return Promise.resolve({ revisions: view.revisionsOfService(id).toReversed() });
    },
  };
}
