import assert from 'node:assert/strict';
import type { Task } from '../../../../common/model/objects.js';
import { planRollbackService } from '../../../../manager/core/service/plan-service-update.js';
import {
  TaskState,
  UpdateFailureAction,
  UpdateOrder,
  UpdateState,
} from '../../../../proto/gen/hatoba/v1/types.js';
import type { Some } from '../../../support/builders.js';
import type { ModelCluster } from '../../../support/model-cluster.js';
import {
  clusterWith,
  constrain,
  nodesOf,
  replicated,
  setImage,
  untilUpdate,
  updateState,
} from './web-service.js';

describe('a constraint that changes', () => {
  for (const order of [UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST]) {
    it(`moves the tasks that it excludes, and those alone (${order})`, () => {
      const cluster = clusterWith({ ...replicated(6), updateConfig: { order, parallelism: 2 } });
      cluster.runUntil(() => cluster.running().length === 6, 'six run');
      assert.deepEqual(nodesOf(cluster.running()), ['n1', 'n2', 'n3']);
      const staying = cluster.running().filter((t) => t.nodeId !== 'n3');
      constrain(cluster, 'node.labels.zone==a');
      assert.equal(updateState(cluster), UpdateState.UPDATING);
      untilUpdate(cluster, UpdateState.COMPLETED);
      assert.equal(cluster.running().length, 6);
      assert.deepEqual(nodesOf(cluster.running()), ['n1', 'n2']);
      const ids = new Set(cluster.running().map((t) => t.id));
      assert.ok(staying.every((t) => ids.has(t.id)));
    });
  }

  it('lets tasks run that waited for it', () => {
    const constraints = ['node.labels.zone==nowhere'];
    const taskTemplate = { placement: { constraints } };
    const cluster = clusterWith({ ...replicated(3), taskTemplate });
    cluster.run(5000);
    assert.ok(cluster.tasks().every((t) => t.status.state === TaskState.PENDING));
    constrain(cluster, 'node.labels.zone==b');
    untilUpdate(cluster, UpdateState.COMPLETED);
    assert.equal(cluster.running().length, 3);
    assert.deepEqual(nodesOf(cluster.running()), ['n3']);
  });

  it('that no node satisfies takes no running task away where the new one starts first', () => {
    const updateConfig = { order: UpdateOrder.START_FIRST, parallelism: 0 };
    const cluster = clusterWith({ ...replicated(3), updateConfig });
    cluster.runUntil(() => cluster.running().length === 3, 'three run');
    constrain(cluster, 'node.labels.zone==nowhere');
    cluster.run(60_000);
    assert.equal(cluster.running().length, 3);
    assert.equal(updateState(cluster), UpdateState.UPDATING);
    const waiting = cluster.tasks().filter((t) => t.status.state === TaskState.PENDING);
    assert.match(
      waiting[0]?.status.message ?? '',
      /3 of 3 nodes do not satisfy node\.labels\.zone/,
    );
    const { plan } = planRollbackService(
      cluster.view,
      { serviceId: cluster.service().id, version: 0 },
      cluster.context,
    );
    cluster.apply(plan);
    untilUpdate(cluster, UpdateState.ROLLBACK_COMPLETED);
    assert.equal(cluster.running().length, 3);
  });
});

describe('a restart policy', () => {
  const sick = (restartPolicy: Some<Task['spec']['restartPolicy']>): ModelCluster => {
    const taskTemplate = { containerSpec: { image: 'web:sick' }, restartPolicy };
    const cluster = clusterWith({ ...replicated(1), taskTemplate });
    cluster.put('cluster', { ...clusterOf(cluster), version: 0 });
    cluster.faults.sickImages = ['web:sick'];
    return cluster;
  };
  const clusterOf = (
    cluster: ModelCluster,
  ): NonNullable<ReturnType<typeof cluster.view.cluster>> => {
    const present = cluster.view.cluster();
    assert.ok(present !== undefined);
    // Less history than there are attempts must not make them forgotten.
    return { ...present, spec: { ...present.spec, taskHistoryLimit: 1 } };
  };
  const generations = (cluster: ModelCluster): number =>
    Math.max(...cluster.tasks().map((t) => t.generation));

  it('tries as often as it says and no more, until the spec changes', () => {
    const cluster = sick({ maxAttempts: 3, delayMs: 1000 });
    cluster.run(120_000);
    assert.equal(generations(cluster), 4, 'the first task and three more');
    assert.ok(cluster.tasks().every((t) => t.status.state === TaskState.FAILED));
    setImage(cluster, 'web:2');
    cluster.runUntil(() => cluster.running().length === 1, 'the repaired one runs');
  });

  it('forgets attempts that are older than its window', () => {
    const restartPolicy = { maxAttempts: 2, delayMs: 0, maxDelayMs: 0, windowMs: 20_000 };
    const cluster = clusterWith({ ...replicated(1), taskTemplate: { restartPolicy } });
    const failure = (): void => {
      cluster.runUntil(() => cluster.running().length === 1, 'it runs');
      cluster.faults.crash = 1;
      cluster.step();
      cluster.faults.crash = 0;
    };
    for (let i = 0; i < 6; i++) {
      failure();
      cluster.run(12_000); // two in each window
    }
    assert.equal(cluster.running().length, 1);
    for (let i = 0; i < 2; i++) failure();
    cluster.run(60_000);
    assert.equal(cluster.running().length, 0, 'too many in one window');
  });

  it('waits between the attempts, twice as long each time, up to a limit', () => {
    const cluster = sick({ delayMs: 2000, maxDelayMs: 7000 });
    const delays = new Map<number, number>();
    cluster.onWrite = () => {
      for (const { generation, startAfterMs, createdAtMs } of cluster.tasks()) {
        if (startAfterMs > 0) delays.set(generation, startAfterMs - createdAtMs);
      }
    };
    cluster.run(60_000);
    assert.deepEqual([...delays.values()].slice(0, 5), [2000, 4000, 7000, 7000, 7000]);
  });

  it('is not forgotten when the reaper takes what it counted', () => {
    const cluster = sick({ maxAttempts: 4, delayMs: 500 });
    cluster.run(120_000);
    assert.equal(generations(cluster), 5);
    assert.ok(cluster.tasks().length < 4, 'most of them are gone');
    assert.match(
      cluster.tasks().at(-1)?.desiredReason ?? '',
      /^gave up after 4 attempts: web\.1 failed/,
    );
  });
});

describe('an update', () => {
  it('pauses between its steps, each no larger than it may be', () => {
    const updateConfig = { parallelism: 2, delayMs: 10_000, monitorMs: 1 };
    const cluster = clusterWith({ ...replicated(6), updateConfig });
    cluster.runUntil(() => cluster.running().length === 6, 'six run');
    setImage(cluster, 'web:2');
    untilUpdate(cluster, UpdateState.COMPLETED);
    const starts = cluster
      .running()
      .map((t) => t.createdAtMs)
      .sort((a, b) => a - b);
    const steps = [...new Set(starts)];
    assert.deepEqual(
      steps.map((ms) => starts.filter((s) => s === ms).length),
      [2, 2, 2],
    );
    steps.slice(1).forEach((ms, i) => assert.ok(ms - (steps[i] ?? 0) >= 10_000));
  });

  it('goes on past failures where it is told to continue', () => {
    const updateConfig = { failureAction: UpdateFailureAction.CONTINUE, parallelism: 1 };
    const taskTemplate = { restartPolicy: { delayMs: 1000 } };
    const cluster = clusterWith({ ...replicated(3), updateConfig, taskTemplate });
    cluster.runUntil(() => cluster.running().length === 3, 'three run');
    cluster.faults.sickImages = ['web:sick'];
    setImage(cluster, 'web:sick');
    untilUpdate(cluster, UpdateState.COMPLETED);
    assert.equal(cluster.running().length, 0);
  });

  it('goes back by the rules of its rollback, and pauses where that fails too', () => {
    const cluster = clusterWith({
      ...replicated(4),
      updateConfig: { failureAction: UpdateFailureAction.ROLLBACK, parallelism: 4 },
      rollbackConfig: {
        parallelism: 1,
        order: UpdateOrder.STOP_FIRST,
        delayMs: 5000,
        monitorMs: 1,
      },
      taskTemplate: { containerSpec: { image: 'web:1' }, restartPolicy: { delayMs: 1000 } },
    });
    cluster.runUntil(() => cluster.running().length === 4, 'four run');
    cluster.faults.sickImages = ['web:sick'];
    setImage(cluster, 'web:sick');
    untilUpdate(cluster, UpdateState.ROLLBACK_STARTED);
    assert.match(
      cluster.service().updateStatus?.message ?? '',
      /^update rolled back due to failure or early termination of task web\.\d\.\w+: unhealthy/,
    );
    untilUpdate(cluster, UpdateState.ROLLBACK_COMPLETED);
    assert.match(
      cluster.service().updateStatus?.message ?? '',
      /^rollback completed: update rolled back due to failure .*: unhealthy/,
    );
    const starts = cluster.running().map((t) => t.createdAtMs);
    assert.equal(new Set(starts).size, 4, 'one after the other');
    setImage(cluster, 'web:sick');
    cluster.faults.sickImages = ['web:sick', 'web:1'];
    untilUpdate(cluster, UpdateState.ROLLBACK_PAUSED);
    assert.match(cluster.service().updateStatus?.message ?? '', /^rollback paused due to/);
  });

  it('counts a task as good once it has run for the monitor period', () => {
    const updateConfig = {
      failureAction: UpdateFailureAction.ROLLBACK,
      parallelism: 1,
      monitorMs: 3000,
    };
    const restartPolicy = { delayMs: 500 };
    const cluster = clusterWith({
      ...replicated(1),
      updateConfig,
      taskTemplate: { restartPolicy },
    });
    cluster.runUntil(() => cluster.running().length === 1, 'one runs');
    setImage(cluster, 'web:2');
    untilUpdate(cluster, UpdateState.COMPLETED);
    cluster.faults.crash = 1;
    cluster.step();
    cluster.faults.crash = 0;
    cluster.runUntil(() => cluster.running().length === 1, 'it runs again');
    assert.equal(cluster.service().spec.taskTemplate.containerSpec.image, 'web:2');
  });
});
