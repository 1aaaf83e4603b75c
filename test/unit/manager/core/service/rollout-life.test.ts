import assert from 'node:assert/strict';
import type { ServiceSpec } from '../../../../../common/model/objects.js';
import {
  planPauseRollout,
  planRestartService,
  planResumeRollout,
} from '../../../../../manager/core/service/plan-rollout.js';
import {
  planCreateService,
  planRollbackService,
  planUpdateService,
  type ServicePlan,
} from '../../../../../manager/core/service/plan-service-update.js';
import { withDefaults } from '../../../../../manager/core/validate/service-spec.js';
import { UpdateFailureAction, UpdateState } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aService } from '../../../../support/builders.js';
import { ModelCluster } from '../../../../support/model-cluster.js';
import { checkInvariants } from '../cluster-invariants.js';

const SPEC = aService({
  spec: {
    mode: { $case: 'replicated', value: { replicas: 4 } },
    updateConfig: {
      ...{ parallelism: 1, delayMs: 2000, monitorMs: 1000 },
      failureAction: UpdateFailureAction.PAUSE,
    },
    rollbackConfig: { parallelism: 0, monitorMs: 500 },
    taskTemplate: { restartPolicy: { delayMs: 1000 } },
  },
}).spec;

function withImage(spec: ServiceSpec, image: string): ServiceSpec {
  const containerSpec = { ...spec.taskTemplate.containerSpec, image };
  return { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
}

describe('a rollout from beginning to end', () => {
  let cluster: ModelCluster;
  let request = { serviceId: '', version: 0 };

  beforeEach(() => {
    cluster = new ModelCluster();
    cluster.onWrite = () => {
      checkInvariants(cluster);
    };
    cluster.apply(planCreateService(cluster.view, withDefaults(SPEC), cluster.context).plan);
    request = { serviceId: cluster.service().id, version: 0 };
    cluster.runUntil(() => cluster.running().length === 4, 'runs');
  });

  const apply = ({ plan, problems }: ServicePlan): void => {
    assert.deepEqual(problems, []);
    cluster.apply(plan);
  };
  const update = (image: string): void => {
    const spec = withImage(cluster.service().spec, image);
    apply(planUpdateService(cluster.view, { ...request, spec }, cluster.context));
  };
  const updated = (): number => {
    const { specVersion } = cluster.service();
    return cluster.running().filter((t) => t.specVersion === specVersion).length;
  };
  const state = (): UpdateState | undefined => cluster.service().updateStatus?.state;

  it('stays where it was paused, keeps its number of tasks, and goes on', () => {
    update('web:2');
    cluster.runUntil(() => updated() === 2, 'has come half the way');
    apply(planPauseRollout(cluster.view, request));
    cluster.run(60_000);
    assert.deepEqual([updated(), cluster.running().length, state()], [2, 4, UpdateState.PAUSED]);
    apply(planResumeRollout(cluster.view, request, cluster.context));
    cluster.runUntil(() => state() === UpdateState.COMPLETED, 'is complete');
    assert.equal(updated(), 4);
  });

  it('that failed is forgiven when it is resumed, and fails again if nothing is better', () => {
    cluster.faults.sickImages = ['web:2'];
    update('web:2');
    cluster.runUntil(() => state() === UpdateState.PAUSED, 'is paused by the failure');
    apply(planResumeRollout(cluster.view, request, cluster.context));
    cluster.runUntil(() => state() === UpdateState.PAUSED, 'is paused again');
    cluster.faults.sickImages = [];
    apply(planResumeRollout(cluster.view, request, cluster.context));
    cluster.runUntil(() => state() === UpdateState.COMPLETED, 'is complete');
    assert.equal(updated(), 4);
  });

  it('of a restart replaces every task by an equal one', () => {
    const before = cluster.running().map((t) => t.id);
    apply(planRestartService(cluster.view, request, cluster.context));
    cluster.runUntil(() => state() === UpdateState.COMPLETED, 'is complete');
    const after = cluster.running();
    assert.equal(after.length, 4);
    assert.ok(after.every((t) => !before.includes(t.id)));
    assert.ok(after.every((t) => t.spec.containerSpec.image === 'web:1'));
  });

  it('goes back to any revision, also from the middle of an update', () => {
    for (const image of ['web:2', 'web:3']) {
      update(image);
      cluster.runUntil(() => state() === UpdateState.COMPLETED, `${image} is complete`);
    }
    update('web:4');
    cluster.runUntil(() => updated() === 1, 'has begun');
    const back = { ...request, revision: 2 };
    apply(planRollbackService(cluster.view, back, cluster.context));
    cluster.runUntil(() => state() === UpdateState.ROLLBACK_COMPLETED, 'is back');
    const images = new Set(cluster.running().map((t) => t.spec.containerSpec.image));
    assert.deepEqual([...images], ['web:2']);
    assert.equal(cluster.running().length, 4);
  });
});
