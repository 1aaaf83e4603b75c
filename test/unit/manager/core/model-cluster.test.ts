import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Service } from '../../../../common/model/objects.js';
import {
  planRemoveService,
  planScaleService,
  planUpdateService,
} from '../../../../manager/core/service/plan-service-update.js';
import { withDefaults } from '../../../../manager/core/validate/service-spec.js';
import {
  NodeAvailability,
  NodeState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
  type UpdateConfig,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { aService, type Some } from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';

function withService(
  cluster: ModelCluster,
  replicas: number,
  updateConfig: Some<UpdateConfig> = {},
): void {
  const update = { parallelism: 1, monitorMs: 5000, ...updateConfig };
  const service = aService({
    spec: {
      mode: { $case: 'replicated', value: { replicas } },
      updateConfig: update,
      taskTemplate: { restartPolicy: { delayMs: 1000 } },
      endpointSpec: { ports: [{ targetPort: 80, publishedPort: 8080 }] },
    },
  });
  cluster.put('service', { ...service, spec: withDefaults(service.spec) });
  cluster.onWrite = () => {
    checkInvariants(cluster);
  };
  cluster.runUntil(() => cluster.running().length === replicas, `${replicas} run`);
}

function update(cluster: ModelCluster, image: string): void {
  const { id, spec } = cluster.service();
  const containerSpec = { ...spec.taskTemplate.containerSpec, image };
  const next: Service['spec'] = { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
  const request = { serviceId: id, version: 0, spec: next };
  const { plan, problems } = planUpdateService(cluster.view, request, cluster.context);
  assert.deepEqual(problems, []);
  cluster.apply(plan);
}

function scale(cluster: ModelCluster, replicas: number): void {
  const request = { serviceId: cluster.service().id, version: 0, replicas };
  cluster.apply(planScaleService(cluster.view, request, cluster.context).plan);
}

function images(cluster: ModelCluster): string[] {
  return [...new Set(cluster.running().map((t) => t.spec.containerSpec.image))];
}

function stateOfUpdate(cluster: ModelCluster): UpdateState | undefined {
  return cluster.service().updateStatus?.state;
}

describe('a whole cluster of planners', () => {
  it('spreads six replicas 2/2/2', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    const counts = ['n1', 'n2', 'n3'].map((n) => cluster.view.tasksOfNode(n).length);
    assert.deepEqual(counts, [2, 2, 2]);
  });

  it('touches no task that stays when it scales 6 → 30 → 3', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    const six = cluster.running();
    scale(cluster, 30);
    cluster.runUntil(() => cluster.running().length === 30, '30 run');
    for (const task of six) assert.deepEqual(cluster.view.task(task.id), task);
    const thirty = cluster.running();
    scale(cluster, 3);
    cluster.runUntil(() => cluster.tasks().length === 3, '3 are left');
    for (const task of cluster.tasks()) assert.equal(thirty.includes(task), true);
    const nodes = cluster.tasks().map((t) => t.nodeId);
    assert.equal(new Set(nodes).size, 3);
  });

  for (const order of [UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST]) {
    for (const parallelism of [1, 2, 4]) {
      it(`updates ${order}, ${parallelism} at a time, with no more missing than allowed`, () => {
        const cluster = new ModelCluster();
        withService(cluster, 6, { order, parallelism });
        const least = order === UpdateOrder.START_FIRST ? 6 : 6 - parallelism;
        cluster.onWrite = () => {
          checkInvariants(cluster);
          assert.ok(cluster.running().length >= least, cluster.show());
        };
        update(cluster, 'web:2');
        cluster.runUntil(() => stateOfUpdate(cluster) === UpdateState.COMPLETED, 'update is done');
        assert.deepEqual(images(cluster), ['web:2']);
        assert.equal(cluster.running().length, 6);
        assert.equal(cluster.containers().length, 6);
      });
    }
  }

  it('pauses an update to a broken image, says why, and keeps the old tasks', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6, { order: UpdateOrder.START_FIRST, parallelism: 2 });
    const before = cluster.running();
    cluster.faults.brokenImages = ['web:broken'];
    update(cluster, 'web:broken');
    cluster.runUntil(() => stateOfUpdate(cluster) === UpdateState.PAUSED, 'update is paused');
    cluster.run(30_000);
    assert.match(
      cluster.service().updateStatus?.message ?? '',
      /^update paused due to failure or early termination of task web\.\d\.\w{25}: image "web:broken" not found$/,
    );
    assert.deepEqual(
      cluster.running().map((t) => t.id),
      before.map((t) => t.id),
    );
    update(cluster, 'web:3');
    cluster.runUntil(() => stateOfUpdate(cluster) === UpdateState.COMPLETED, 'third is done');
    assert.deepEqual(images(cluster), ['web:3']);
  });

  it('keeps to the old spec where a paused update has not come', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6, { order: UpdateOrder.START_FIRST });
    cluster.faults.brokenImages = ['web:broken'];
    update(cluster, 'web:broken');
    cluster.runUntil(() => stateOfUpdate(cluster) === UpdateState.PAUSED, 'update is paused');
    cluster.kill('n2');
    cluster.runUntil(
      () => cluster.running().filter((t) => t.nodeId !== 'n2').length === 6,
      'all six run on n1 and n3',
    );
    assert.deepEqual(images(cluster), ['web:1']);
  });

  for (const order of [UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST]) {
    it(`rolls back an update whose tasks turn out sick (${order})`, () => {
      const cluster = new ModelCluster();
      const failureAction = UpdateFailureAction.ROLLBACK;
      withService(cluster, 4, { order, failureAction, parallelism: 2 });
      cluster.faults.sickImages = ['web:sick'];
      update(cluster, 'web:sick');
      cluster.runUntil(
        () => stateOfUpdate(cluster) === UpdateState.ROLLBACK_COMPLETED,
        'rollback is done',
      );
      assert.deepEqual(images(cluster), ['web:1']);
      assert.equal(cluster.running().length, 4);
      assert.equal(cluster.service().spec.taskTemplate.containerSpec.image, 'web:1');
    });
  }

  it('lets a later spec take over an update under way', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6, { order: UpdateOrder.START_FIRST, parallelism: 2 });
    update(cluster, 'web:2');
    cluster.run(2000);
    update(cluster, 'web:3');
    cluster.onWrite = () => {
      checkInvariants(cluster);
      assert.ok(cluster.running().length >= 6, cluster.show());
    };
    cluster.runUntil(() => stateOfUpdate(cluster) === UpdateState.COMPLETED, 'third is done');
    assert.deepEqual(images(cluster), ['web:3']);
  });

  it('runs the tasks of a lost host elsewhere, and nothing twice once it is back', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    const killedAtMs = cluster.nowMs;
    cluster.kill('n3');
    cluster.runUntil(
      () => cluster.running().filter((t) => t.nodeId !== 'n3').length === 6,
      'six run on n1 and n2',
    );
    assert.ok(cluster.nowMs - killedAtMs <= 7000, `took ${cluster.nowMs - killedAtMs} ms`);
    cluster.start('n3');
    cluster.run(10_000);
    assert.equal(cluster.running().length, 6);
    assert.equal(cluster.containers().length, 6);
  });

  it('ends with the wanted replicas after a partition', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    cluster.partition('n1');
    cluster.run(20_000);
    assert.equal(cluster.view.node('n1')?.status.state, NodeState.DOWN);
    assert.equal(cluster.containers().length, 8); // those on n1 run on, out of reach
    cluster.heal('n1');
    cluster.run(5000);
    assert.equal(cluster.containers().length, 6);
    assert.equal(cluster.running().length, 6);
  });

  it('moves the tasks of a drained node, each when the old one has ended', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    const node = cluster.view.findByPrefix('node', 'n2');
    const availability = NodeAvailability.DRAIN;
    cluster.put('node', { ...node, spec: { ...node.spec, availability } });
    cluster.runUntil(
      () => cluster.running().length === 6 && cluster.running().every((t) => t.nodeId !== 'n2'),
      'six run on n1 and n3',
      10_000,
    );
  });

  it('removes a service with all that is its own, also with a host down', () => {
    const cluster = new ModelCluster();
    withService(cluster, 6);
    cluster.kill('n1');
    cluster.run(5000);
    cluster.apply(planRemoveService(cluster.view, cluster.service().id).plan);
    cluster.run(5000);
    assert.deepEqual([...cluster.view.services()], []);
    assert.deepEqual([...cluster.view.tasks()], []);
    assert.deepEqual(cluster.containers(), []);
  });

  it('comes to rest with exactly the wanted tasks, whatever happened', () => {
    const action = fc.oneof(
      fc.record({ do: fc.constant('scale' as const), replicas: fc.integer({ min: 0, max: 9 }) }),
      fc.record({
        do: fc.constant('update' as const),
        image: fc.constantFrom('web:1', 'web:2', 'web:broken', 'web:sick'),
      }),
      fc.record({
        do: fc.constantFrom(
          'kill' as const,
          'start' as const,
          'partition' as const,
          'heal' as const,
        ),
        node: fc.constantFrom('n1', 'n2', 'n3'),
      }),
    );
    const config = fc.record({
      order: fc.constantFrom(UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST),
      parallelism: fc.integer({ min: 0, max: 3 }),
      failureAction: fc.constantFrom(
        UpdateFailureAction.PAUSE,
        UpdateFailureAction.CONTINUE,
        UpdateFailureAction.ROLLBACK,
      ),
      delayMs: fc.constantFrom(0, 2000),
    });
    const script = fc.array(fc.tuple(action, fc.integer({ min: 0, max: 6000 })), { maxLength: 8 });
    fc.assert(
      fc.property(fc.integer(), config, script, (seed, updateConfig, steps) => {
        const cluster = new ModelCluster({ seed, historyLimit: 2 });
        withService(cluster, 5, updateConfig);
        cluster.faults.brokenImages = ['web:broken'];
        cluster.faults.sickImages = ['web:sick'];
        cluster.faults.crash = 0.01;
        let replicas = 5;
        for (const [what, waitMs] of steps) {
          if (what.do === 'scale') scale(cluster, (replicas = what.replicas));
          else if (what.do === 'update') update(cluster, what.image);
          else cluster[what.do](what.node);
          cluster.run(waitMs);
        }
        cluster.faults.crash = 0;
        for (const node of ['n1', 'n2', 'n3']) cluster.start(node);
        update(cluster, 'web:9');
        scale(cluster, replicas);
        const ends: (UpdateState | undefined)[] = [undefined, UpdateState.COMPLETED]; // undefined: there was no task to update
        cluster.runUntil(() => ends.includes(stateOfUpdate(cluster)), 'updated');
        cluster.run(10_000);
        assert.equal(cluster.running().length, replicas);
        assert.equal(cluster.containers().length, replicas);
        assert.ok(replicas === 0 || images(cluster).join() === 'web:9', cluster.show());
        assert.equal(cluster.control(), 0);
      }),
      { numRuns: 200 },
    );
  });
});
