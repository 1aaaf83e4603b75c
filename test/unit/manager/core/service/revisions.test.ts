import assert from 'node:assert/strict';
import type { Service, ServiceSpec } from '../../../../../common/model/objects.js';
import { planReap } from '../../../../../manager/core/plan-reap.js';
import {
  planCreateService,
  planRollbackService,
  planUpdateService,
} from '../../../../../manager/core/service/plan-service-update.js';
import { causeOfUpdate } from '../../../../../manager/core/service/revisions.js';
import type { Plan } from '../../../../../manager/core/snapshot.js';
import { planStack } from '../../../../../manager/core/stack/plan-stack.js';
import { withDefaults } from '../../../../../manager/core/validate/service-spec.js';
import { checkStackSpec } from '../../../../../proto/wire/check.js';
import { StackSpec, UpdateFailureAction } from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aNode,
  aRevision,
  aService,
  aTask,
  snapshotOf,
  T0,
  type Some,
} from '../../../../support/builders.js';
import { ModelCluster } from '../../../../support/model-cluster.js';

const context = { nowMs: T0 + 1000, newId: (): string => 'new-id' };

function withImage(spec: ServiceSpec, image: string): ServiceSpec {
  const containerSpec = { ...spec.taskTemplate.containerSpec, image };
  return { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
}

function scaled(spec: ServiceSpec, replicas: number): ServiceSpec {
  return { ...spec, mode: { $case: 'replicated', value: { replicas } } };
}

/** Service web that has had images web:1 to web:<specVersion>. */
function web(specVersion: number, some: Some<Service['spec']> = {}): Service {
  const { spec } = aService({ spec: some });
  const full = withDefaults(withImage(spec, `web:${specVersion}`));
  return aService({
    ...{ specVersion, spec: full, version: 7 },
    previousSpec: withImage(full, `web:${specVersion - 1}`),
  });
}

function historyOf(service: Service, ...numbers: number[]): ReturnType<typeof aRevision>[] {
  return numbers.map((number) =>
    aRevision(service, { number, spec: withImage(service.spec, `web:${number}`) }),
  );
}

/** Each group as words: "update service, create revision 3 (updated)". */
function wordsOf({ groups }: Plan): string[] {
  return groups.map((group) =>
    group
      .map(({ action, kind, object }) => {
        const of = 'number' in object ? ` ${object.number} (${object.cause})` : '';
        return `${action} ${kind}${of}`;
      })
      .join(', '),
  );
}

describe('revisions of a service', () => {
  it('begin with the service, in the same write', () => {
    const { plan, service } = planCreateService(snapshotOf({}), aService().spec, context);
    assert.deepEqual(wordsOf(plan), ['create service, create revision 1 (created)']);
    const revision = plan.groups[0]?.[1]?.object;
    assert.deepEqual(revision, {
      id: 'new-id/1',
      version: 0,
      createdAtMs: T0 + 1000,
      updatedAtMs: T0 + 1000,
      serviceId: 'new-id',
      number: 1,
      spec: service.spec,
      cause: 'created',
    });
  });

  describe('come with each change of the spec, and say why', () => {
    const { spec } = web(1);
    const forced = { ...spec.taskTemplate, forceUpdate: 1 };
    const cases: readonly [string, ServiceSpec][] = [
      ['updated', withImage(spec, 'web:9')],
      ['scaled to 5', scaled(spec, 5)],
      ['restart requested', { ...spec, taskTemplate: forced }],
      ['updated', scaled(withImage(spec, 'web:9'), 5)],
      ['updated', { ...spec, taskTemplate: withImage({ ...spec, taskTemplate: forced }, 'x').taskTemplate }], // prettier-ignore
    ];
    for (const [cause, changed] of cases) {
      it(`${cause}: ${JSON.stringify(changed.mode)} ${changed.taskTemplate.containerSpec.image}`, () => {
        assert.equal(causeOfUpdate(spec, changed), cause);
        const snapshot = snapshotOf({ services: [web(1)] });
        const request = { serviceId: 'id-web', version: 0, spec: changed };
        assert.deepEqual(wordsOf(planUpdateService(snapshot, request, context).plan), [
          `update service, create revision 2 (${cause})`,
        ]);
      });
    }
  });

  it('come with a stack too, and not where a service stays as it is', () => {
    const specOf = (image: string): Parameters<typeof planStack>[1] =>
      checkStackSpec(
        StackSpec.fromPartial({
          name: 'app',
          services: ['app_a', 'app_b'].map((name) => ({
            name,
            mode: { $case: 'replicated' as const, value: { replicas: 1 } },
            taskTemplate: { containerSpec: { image: name === 'app_a' ? 'a:1' : image } },
          })),
        }),
      );
    let ids = 0;
    const options = { ...context, newId: () => `id${++ids}`, prune: false };
    const first = planStack(snapshotOf({}), specOf('b:1'), options).plan;
    assert.deepEqual(wordsOf(first), [
      'create service, create revision 1 (created), create service, create revision 1 (created), create stack',
    ]);
    const objects = first.groups.flat().map(({ object }) => ({ ...object, version: 1 }));
    const snapshot = snapshotOf({ services: objects.filter((o) => 'endpoint' in o) });
    const second = planStack(snapshot, specOf('b:2'), options).plan;
    assert.deepEqual(wordsOf(second), [
      'update service, create revision 2 (deployed with stack app), create stack',
    ]);
  });

  describe('rolling back', () => {
    const service = web(4);
    const snapshot = snapshotOf({
      services: [service],
      revisions: historyOf(service, 1, 2, 3, 4),
    });
    const back = (revision?: number): ReturnType<typeof planRollbackService> =>
      planRollbackService(snapshot, { serviceId: service.id, version: 0, revision }, context);

    it('to any of them is a new one', () => {
      const { plan, service: rolled } = back(2);
      assert.deepEqual(wordsOf(plan), ['update service, create revision 5 (rolled back to 2)']);
      assert.equal(rolled.spec.taskTemplate.containerSpec.image, 'web:2');
      assert.equal(rolled.previousSpec?.taskTemplate.containerSpec.image, 'web:4');
      assert.equal(rolled.updateStatus?.message, 'rollback requested');
    });

    it('without a number is to the previous spec, and says which that was', () => {
      assert.deepEqual(wordsOf(back().plan), [
        'update service, create revision 5 (rolled back to 3)',
      ]);
    });

    it('to the present one changes nothing', () => {
      assert.deepEqual(wordsOf(back(4).plan), []);
    });

    it('to one that is not there names those that are', () => {
      assert.throws(() => back(7), {
        kind: 'not-found',
        message: 'service web has no revision 7: these exist: 1, 2, 3, 4',
      });
    });
  });

  describe('are trimmed', () => {
    const reaped = (service: Service, numbers: number[], tasks = [aTask()]): string[] =>
      wordsOf(
        planReap(
          snapshotOf({
            ...{ services: [service], revisions: historyOf(service, ...numbers), tasks },
            nodes: [aNode()],
          }),
          T0,
        ),
      );
    const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

    it('to ten beside the present one', () => {
      assert.deepEqual(reaped(web(11), upTo(11)), []);
      assert.deepEqual(reaped(web(13), upTo(13)), [
        'remove revision 1 (created)',
        'remove revision 2 (created)',
      ]);
    });

    it('to as many as the service says', () => {
      assert.deepEqual(reaped(web(3, { revisionLimit: 0 }), [1, 2, 3]), [
        'remove revision 1 (created)',
        'remove revision 2 (created)',
      ]);
      assert.deepEqual(reaped(web(14, { revisionLimit: 20 }), upTo(14)), []);
    });

    it('and go with their service, in one write', () => {
      const gone = aService({ ...web(2), pendingDelete: true });
      assert.deepEqual(reaped(gone, [1, 2], []), [
        'remove service, remove revision 1 (created), remove revision 2 (created)',
      ]);
    });

    it('or soon after, where there are more than one write holds', () => {
      const gone = aService({ ...web(60), pendingDelete: true });
      const [first = ''] = reaped(gone, upTo(60), []);
      assert.equal(first.split(', ').length, 50);
      const left = snapshotOf({ revisions: historyOf(gone, 1, 2) });
      assert.deepEqual(wordsOf(planReap(left, T0)), [
        'remove revision 1 (created)',
        'remove revision 2 (created)',
      ]);
    });
  });

  it('tell of an update that was rolled back by itself', () => {
    const cluster = new ModelCluster();
    cluster.faults.sickImages = ['web:2'];
    const { spec } = web(1, {
      updateConfig: { parallelism: 1, failureAction: UpdateFailureAction.ROLLBACK },
    });
    cluster.apply(planCreateService(cluster.view, spec, cluster.context).plan);
    cluster.runUntil(() => cluster.running().length === 1, 'runs');
    const request = { serviceId: cluster.service().id, version: 0, spec: withImage(spec, 'web:2') };
    cluster.apply(planUpdateService(cluster.view, request, cluster.context).plan);
    cluster.runUntil(() => cluster.service().specVersion === 3, 'is rolled back');
    const causes = cluster.view.revisionsOfService(request.serviceId).map((r) => r.cause);
    assert.deepEqual(causes.slice(0, 2), ['created', 'updated']);
    assert.match(causes[2] ?? '', /^rolled back to 1 due to failure or early termination of task/);
  });
});
