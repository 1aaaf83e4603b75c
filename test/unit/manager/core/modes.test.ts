import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Service, ServiceSpec, Task } from '../../../../common/model/objects.js';
import {
  newService,
  planRemoveService,
  planUpdateService,
} from '../../../../manager/core/service/plan-service-update.js';
import { serviceStatusOf } from '../../../../manager/core/service/service-status.js';
import { withDefaults } from '../../../../manager/core/validate/service-spec.js';
import {
  NodeAvailability,
  NodeState,
  TaskState,
  UpdateOrder,
  UpdateState,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, type Some } from '../../../support/builders.js';
import { ModelCluster, STEP_MS } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';

const GLOBAL = { $case: 'global', value: {} } as const;
const GLOBAL_JOB = { $case: 'globalJob', value: {} } as const;
const job = (totalCompletions: number, maxConcurrent: number) =>
  ({ $case: 'replicatedJob', value: { totalCompletions, maxConcurrent } }) as const;

function clusterWith(some: Some<Service['spec']>, seed = 1): ModelCluster {
  const cluster = new ModelCluster({ seed });
  const { spec } = aService({
    spec: { taskTemplate: { restartPolicy: { delayMs: 1000 } }, ...some },
  });
  cluster.put('service', newService(withDefaults(spec), cluster.context));
  cluster.onWrite = () => {
    checkInvariants(cluster);
    checkJobs(cluster);
  };
  cluster.settle();
  return cluster;
}

/** No job has more at work than it may, nor works on what is done. */
function checkJobs(cluster: ModelCluster): void {
  for (const service of cluster.view.services()) {
    const { mode } = service.spec;
    const atWork = cluster.tasks().filter((t) => isAtWork(t, service));
    const done = new Set(
      cluster
        .tasks()
        .filter(isDone)
        .map((t) => `${t.jobIteration} ${t.slot}`),
    );
    if (mode.$case !== 'replicatedJob') continue;
    const { maxConcurrent } = mode.value;
    assert.ok(atWork.length <= maxConcurrent, `${atWork.length} at work\n${cluster.show()}`);
    for (const { jobIteration, slot } of atWork) assert.ok(!done.has(`${jobIteration} ${slot}`));
  }
}

function isDone(task: Task): boolean {
  return task.jobIteration > 0 && task.status.state === TaskState.COMPLETE;
}

function isAtWork(task: Task, service: Service): boolean {
  const isWanted =
    task.desiredState === TaskState.READY || task.desiredState === TaskState.COMPLETE;
  const isOpen = task.status.state !== TaskState.COMPLETE;
  return isWanted && isOpen && task.jobIteration === service.jobStatus?.iteration;
}

function change(cluster: ModelCluster, edit: (spec: ServiceSpec) => ServiceSpec): void {
  const { id, spec } = cluster.service();
  const request = { serviceId: id, version: 0, spec: edit(spec) };
  const { plan, problems } = planUpdateService(cluster.view, request, cluster.context);
  assert.deepEqual(problems, []);
  cluster.apply(plan);
}

function setImage(cluster: ModelCluster, image: string): void {
  change(cluster, (spec) => {
    const containerSpec = { ...spec.taskTemplate.containerSpec, image };
    return { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
  });
}

function node(cluster: ModelCluster, id: string): Node {
  const found = cluster.view.node(id);
  assert.ok(found);
  return found;
}

function setSpec(cluster: ModelCluster, id: string, some: Partial<Node['spec']>): void {
  const before = node(cluster, id);
  cluster.put('node', { ...before, spec: { ...before.spec, ...some } });
}

const nodesOf = (tasks: readonly Task[]): string[] => tasks.map((t) => t.nodeId).sort();
const idsOf = (tasks: readonly Task[]): string[] => tasks.map((t) => t.id).sort();

function untilOn(cluster: ModelCluster, ...nodes: string[]): Task[] {
  const isSo = (): boolean => String(nodesOf(cluster.running())) === String(nodes);
  cluster.runUntil(isSo, `runs on ${nodes.join(', ')}`);
  return cluster.running();
}

function completed(cluster: ModelCluster): number {
  return serviceStatusOf(cluster.view, cluster.service()).completedTasks;
}

describe('a global service', () => {
  it('follows the nodes that join, are drained, paused, and leave', () => {
    const cluster = clusterWith({ mode: GLOBAL });
    const first = untilOn(cluster, 'n1', 'n2', 'n3');
    cluster.addNode(aNode({ id: 'n4' }));
    untilOn(cluster, 'n1', 'n2', 'n3', 'n4');
    setSpec(cluster, 'n2', { availability: NodeAvailability.DRAIN });
    untilOn(cluster, 'n1', 'n3', 'n4');
    setSpec(cluster, 'n3', { availability: NodeAvailability.PAUSE });
    cluster.run(3000);
    setSpec(cluster, 'n2', { availability: NodeAvailability.ACTIVE });
    const last = untilOn(cluster, 'n1', 'n2', 'n3', 'n4');
    const kept = first.filter((t) => t.nodeId !== 'n2');
    assert.deepEqual(
      kept.filter((t) => !idsOf(last).includes(t.id)),
      [],
    );
  });

  it('obeys labels that change', () => {
    const placement = { constraints: ['node.labels.edge==yes'] };
    const cluster = clusterWith({ mode: GLOBAL, taskTemplate: { placement } });
    assert.deepEqual(cluster.tasks(), []);
    setSpec(cluster, 'n2', { labels: { edge: 'yes' } });
    untilOn(cluster, 'n2');
    setSpec(cluster, 'n3', { labels: { edge: 'yes' } });
    setSpec(cluster, 'n2', { labels: {} });
    untilOn(cluster, 'n3');
  });

  it('leaves the task of a node that is cut off alone, and finds it alive', () => {
    const cluster = clusterWith({ mode: GLOBAL });
    const before = untilOn(cluster, 'n1', 'n2', 'n3');
    cluster.partition('n2');
    cluster.runUntil(() => node(cluster, 'n2').status.state === NodeState.DOWN, 'n2 is down');
    cluster.run(60_000);
    assert.deepEqual(idsOf(cluster.tasks()), idsOf(before));
    assert.equal(serviceStatusOf(cluster.view, cluster.service()).desiredTasks, 2);
    cluster.heal('n2');
    cluster.run(10_000);
    assert.deepEqual(idsOf(untilOn(cluster, 'n1', 'n2', 'n3')), idsOf(before));
    assert.equal(cluster.containers().length, 3);
  });

  it('starts again on a node that lost its power, once that is back', () => {
    const cluster = clusterWith({ mode: GLOBAL });
    untilOn(cluster, 'n1', 'n2', 'n3');
    cluster.kill('n2');
    cluster.run(20_000);
    assert.equal(cluster.containers().length, 2);
    cluster.start('n2');
    cluster.runUntil(() => cluster.containers().length === 3, 'it runs there');
    untilOn(cluster, 'n1', 'n2', 'n3');
    const [second] = cluster.running().filter((t) => t.nodeId === 'n2');
    assert.match(second?.cause ?? '', /web failed: the machine was switched off/);
  });

  for (const order of [UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST]) {
    it(`rolls from node to node (${order})`, () => {
      const cluster = clusterWith({
        mode: GLOBAL,
        updateConfig: { order, parallelism: 1, monitorMs: 1000 },
      });
      untilOn(cluster, 'n1', 'n2', 'n3');
      let least = 3;
      const check = cluster.onWrite;
      cluster.onWrite = () => {
        check();
        least = Math.min(least, new Set(nodesOf(cluster.running())).size);
      };
      setImage(cluster, 'web:2');
      cluster.runUntil(
        () => cluster.service().updateStatus?.state === UpdateState.COMPLETED,
        'it is over',
      );
      assert.ok(cluster.running().every((t) => t.spec.containerSpec.image === 'web:2'));
      assert.deepEqual(nodesOf(cluster.running()), ['n1', 'n2', 'n3']);
      assert.equal(least, order === UpdateOrder.START_FIRST ? 3 : 2);
    });
  }

  it('is updated past a node that is down, and there when it is back', () => {
    const cluster = clusterWith({ mode: GLOBAL, updateConfig: { monitorMs: 1000 } });
    untilOn(cluster, 'n1', 'n2', 'n3');
    cluster.partition('n2');
    cluster.runUntil(() => node(cluster, 'n2').status.state === NodeState.DOWN, 'n2 is down');
    setImage(cluster, 'web:2');
    cluster.runUntil(
      () => cluster.service().updateStatus?.state === UpdateState.COMPLETED,
      'it is over without n2',
    );
    cluster.heal('n2');
    cluster.runUntil(
      () => cluster.running().every((t) => t.spec.containerSpec.image === 'web:2'),
      'n2 has it too',
    );
    untilOn(cluster, 'n1', 'n2', 'n3');
  });

  it('keeps so many dead tasks of each node, and leaves nothing when it is removed', () => {
    const cluster = clusterWith({ mode: GLOBAL, updateConfig: { monitorMs: 1000 } });
    for (let version = 2; version < 10; version++) {
      setImage(cluster, `web:${version}`);
      cluster.runUntil(
        () => cluster.service().updateStatus?.state === UpdateState.COMPLETED,
        'it is over',
      );
    }
    cluster.run(2000);
    assert.equal(cluster.tasks().length, 3 * (5 + 1));
    cluster.apply(planRemoveService(cluster.view, cluster.service().id).plan);
    cluster.runUntil(() => [...cluster.view.services()].length === 0, 'all is gone');
    assert.deepEqual([...cluster.view.tasks()], []);
    assert.deepEqual(cluster.containers(), []);
  });
});

describe('a job', () => {
  it('completes as often as it is to, so many at a time', () => {
    const cluster = clusterWith({ mode: job(7, 2) });
    cluster.runUntil(() => completed(cluster) === 7, 'all are done');
    cluster.run(60_000);
    const tasks = cluster.tasks();
    assert.deepEqual(
      tasks.map((t) => t.slot),
      [1, 2, 3, 4, 5, 6, 7],
    );
    assert.ok(tasks.every((t) => isDone(t) && t.desiredState === TaskState.COMPLETE));
    assert.deepEqual(cluster.containers(), []);
  });

  it('tries again what fails, and does what was lost with its node elsewhere', () => {
    const cluster = clusterWith({ mode: job(12, 3) }, 7);
    cluster.faults.crash = 0.1;
    cluster.run(4 * STEP_MS);
    cluster.kill('n2');
    cluster.runUntil(() => completed(cluster) === 12, 'all are done', 600_000);
    const slots = new Set(
      cluster
        .tasks()
        .filter(isDone)
        .map((t) => t.slot),
    );
    assert.equal(slots.size, 12);
  });

  it('gives up what its policy gives up, and does the rest', () => {
    const restartPolicy = { delayMs: 0, maxAttempts: 2 };
    const cluster = clusterWith({ mode: job(3, 1), taskTemplate: { restartPolicy } });
    cluster.faults.sickImages = ['web:1'];
    cluster.run(30_000);
    assert.equal(cluster.tasks().length, 9);
    assert.equal(completed(cluster), 0);
  });

  it('begins anew with each spec, and nothing of the former one goes on', () => {
    const cluster = clusterWith({ mode: job(4, 2) });
    cluster.runUntil(() => completed(cluster) === 2, 'half is done');
    setImage(cluster, 'web:2');
    assert.equal(completed(cluster), 0);
    cluster.runUntil(() => completed(cluster) === 4, 'all are done');
    cluster.run(2000);
    assert.ok(cluster.tasks().every((t) => t.spec.containerSpec.image === 'web:2'));
    assert.ok(cluster.tasks().every((t) => t.jobIteration === 2));
    assert.equal(cluster.service().updateStatus, undefined);
  });

  it('runs again when it is forced to', () => {
    const cluster = clusterWith({ mode: job(1, 1) });
    cluster.runUntil(() => completed(cluster) === 1, 'it is done');
    const first = idsOf(cluster.tasks());
    change(cluster, (spec) => ({
      ...spec,
      taskTemplate: { ...spec.taskTemplate, forceUpdate: spec.taskTemplate.forceUpdate + 1 },
    }));
    cluster.runUntil(() => completed(cluster) === 1, 'it is done again');
    assert.equal(
      cluster.tasks().some((t) => first.includes(t.id) && t.jobIteration !== 1),
      false,
    );
  });

  it('of all nodes runs on each, also on those that join later', () => {
    const cluster = clusterWith({ mode: GLOBAL_JOB });
    cluster.runUntil(() => completed(cluster) === 3, 'three are done');
    assert.deepEqual(serviceStatusOf(cluster.view, cluster.service()), {
      runningTasks: 0,
      desiredTasks: 0,
      completedTasks: 3,
    });
    cluster.addNode(aNode({ id: 'n4' }));
    cluster.runUntil(() => completed(cluster) === 4, 'n4 has done it too');
    cluster.run(10_000);
    assert.deepEqual(nodesOf(cluster.tasks()), ['n1', 'n2', 'n3', 'n4']);
  });
});

describe('modes, whatever happens (property)', () => {
  const blows = fc.array(
    fc.record({
      node: fc.constantFrom('n1', 'n2', 'n3'),
      what: fc.constantFrom('kill', 'start', 'partition', 'heal', 'drain', 'active', 'pause'),
      steps: fc.nat(12),
    }),
    { maxLength: 12 },
  );

  function strike(cluster: ModelCluster, id: string, what: string): void {
    switch (what) {
      case 'drain':
        setSpec(cluster, id, { availability: NodeAvailability.DRAIN });
        return;
      case 'pause':
        setSpec(cluster, id, { availability: NodeAvailability.PAUSE });
        return;
      case 'active':
        setSpec(cluster, id, { availability: NodeAvailability.ACTIVE });
        return;
      case 'kill':
        cluster.kill(id);
        return;
      case 'partition':
        cluster.partition(id);
        return;
      default:
        cluster.start(id);
        cluster.heal(id);
    }
  }

  function calmDown(cluster: ModelCluster): void {
    cluster.faults.crash = 0;
    for (const id of ['n1', 'n2', 'n3']) {
      strike(cluster, id, 'start');
      strike(cluster, id, 'active');
    }
  }

  it('a global service ends up with one on each node', () => {
    fc.assert(
      fc.property(blows, fc.nat(1000), fc.boolean(), (sequence, seed, updates) => {
        const cluster = clusterWith({ mode: GLOBAL }, seed);
        cluster.faults.crash = 0.02;
        for (const { node: id, what, steps } of sequence) {
          strike(cluster, id, what);
          cluster.run(steps * STEP_MS);
        }
        if (updates) change(cluster, (spec) => ({ ...spec, labels: { v: String(seed) } }));
        calmDown(cluster);
        untilOn(cluster, 'n1', 'n2', 'n3');
      }),
      { numRuns: 40 },
    );
  });

  it('a job ends', () => {
    fc.assert(
      fc.property(blows, fc.nat(1000), fc.integer({ min: 1, max: 8 }), (sequence, seed, total) => {
        const cluster = clusterWith({ mode: job(total, 2) }, seed);
        cluster.faults.crash = 0.05;
        for (const { node: id, what, steps } of sequence) {
          strike(cluster, id, what);
          cluster.run(steps * STEP_MS);
        }
        calmDown(cluster);
        cluster.runUntil(() => completed(cluster) === total, 'all are done', 600_000);
      }),
      { numRuns: 40 },
    );
  });
});
