import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Service, Task } from '../../../../common/model/objects.js';
import { placeOf } from '../../../../common/model/task-place.js';
import { isTerminal, isWanted, rankOf } from '../../../../common/model/task-state.js';
import {
  NodeState,
  RestartCondition,
  TaintEffect,
  TaskState,
  UpdateOrder,
  UpdateState,
} from '../../../../proto/gen/hatoba/v1/types.js';
import type { Some } from '../../../support/builders.js';
import type { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';
import {
  activate,
  clusterWith,
  constrain,
  drain,
  editNode,
  nodesOf,
  replicated,
  serving,
  setImage,
  untilUpdate,
} from './web-service.js';

const { START_FIRST, STOP_FIRST } = UpdateOrder;

/** Service web, all of whose replicas run. */
function running(replicas: number, some: Some<Service['spec']>, seed = 1): ModelCluster {
  const updateConfig = { parallelism: 1, monitorMs: 1000, ...some.updateConfig };
  const cluster = clusterWith({ ...replicated(replicas), ...some, updateConfig }, seed);
  cluster.runUntil(() => serving(cluster).length === replicas, `${replicas} run`);
  return cluster;
}

function firstFirst(some: Some<Service['spec']> = {}): Some<Service['spec']> {
  return { ...some, updateConfig: { order: START_FIRST, ...some.updateConfig } };
}

/** Holds what is written against what was there before. */
function watch(cluster: ModelCluster, check: (before: ReadonlyMap<string, Task>) => void): void {
  const now = (): Map<string, Task> => new Map(cluster.tasks().map((t) => [t.id, t]));
  let before = now();
  cluster.onWrite = () => {
    checkInvariants(cluster);
    check(before);
    before = now();
  };
}

/** Nothing that serves is told to stop unless something else serves in its place. */
function leavesNoGap(cluster: ModelCluster): void {
  watch(cluster, (before) => {
    for (const task of cluster.tasks()) {
      const was = before.get(task.id);
      const serves = task.status.state === TaskState.RUNNING && cluster.isUp(task.nodeId);
      const isStopped = task.desiredState === TaskState.SHUTDOWN;
      if (was === undefined || !isWanted(was.desiredState) || !isStopped || !serves) continue;
      const others = serving(cluster).filter((t) => placeOf(t) === placeOf(task));
      assert.ok(others.length > 0, `${task.id}: ${task.desiredReason}\n${cluster.show()}`);
    }
  });
}

describe('a drained node', () => {
  it('gives up the only task of a service when another one serves', () => {
    const cluster = running(1, firstFirst());
    const [node = ''] = nodesOf(serving(cluster));
    watch(cluster, () => {
      assert.ok(serving(cluster).length >= 1, cluster.show());
    });
    drain(cluster, node);
    cluster.runUntil(() => !nodesOf(cluster.running()).includes(node), 'it runs elsewhere');
    cluster.run(5000);
    assert.deepEqual([serving(cluster).length, cluster.containers().length], [1, 1]);
    const old = cluster.tasks()[0];
    assert.equal(old?.desiredReason, `${node} is drained`);
    assert.equal(serving(cluster)[0]?.cause, `${node} is drained`);
  });

  it('is left by as many at a time as updates replace', () => {
    const cluster = running(9, firstFirst({ updateConfig: { parallelism: 2 } }));
    let most = 0;
    watch(cluster, () => {
      const surplus = cluster.tasks().filter((t) => isWanted(t.desiredState)).length - 9;
      most = Math.max(most, surplus);
      assert.ok(serving(cluster).length >= 9, cluster.show());
    });
    drain(cluster, 'n2');
    cluster.runUntil(() => !nodesOf(cluster.running()).includes('n2'), 'nothing runs on n2');
    assert.equal(most, 2);
  });

  it('that is active again before others serve keeps its tasks', () => {
    const cluster = running(1, firstFirst());
    const [task] = serving(cluster);
    assert.ok(task !== undefined);
    drain(cluster, task.nodeId);
    cluster.step();
    assert.equal(cluster.tasks().length, 2);
    activate(cluster, task.nodeId);
    cluster.run(10_000);
    assert.deepEqual(
      serving(cluster).map((t) => t.id),
      [task.id],
    );
    assert.equal(cluster.containers().length, 1);
  });

  it('keeps what has no room elsewhere, which says so', () => {
    const ports = [
      { targetPort: 80, publishedPort: 8080, publishMode: 'PUBLISH_MODE_HOST' as const },
    ];
    const cluster = running(3, firstFirst({ endpointSpec: { ports } }));
    const before = serving(cluster);
    drain(cluster, 'n2');
    cluster.run(60_000);
    assert.deepEqual(serving(cluster), before);
    const waiting = cluster.tasks().find((t) => t.status.state === TaskState.PENDING);
    assert.match(waiting?.status.message ?? '', /^no suitable node: .*port 8080/);
    assert.equal(waiting?.cause, 'n2 is drained');
  });

  it('stops its tasks first where that is the order', () => {
    const cluster = running(3, { updateConfig: { order: STOP_FIRST } });
    let most = 0;
    watch(cluster, () => {
      most = Math.max(most, cluster.containers().length);
    });
    drain(cluster, 'n2');
    cluster.step();
    cluster.runUntil(() => serving(cluster).length === 3, 'three run');
    assert.deepEqual([most, nodesOf(serving(cluster)).includes('n2')], [3, false]);
  });
});

describe('a node that changes', () => {
  const taint = (addedAtMs: number): Parameters<typeof editNode>[2] => ({
    taints: [{ key: 'disk', value: 'old', effect: TaintEffect.NO_EXECUTE, addedAtMs }],
  });

  it('is left by what does not tolerate its taint, after the time it does', () => {
    const placement = { tolerations: [{ key: 'disk', tolerationMs: 20_000 }] };
    const cluster = running(3, firstFirst({ taskTemplate: { placement } }));
    leavesNoGap(cluster);
    editNode(cluster, 'n2', taint(cluster.nowMs));
    cluster.run(19_000);
    assert.equal(nodesOf(serving(cluster)).includes('n2'), true);
    cluster.runUntil(() => !nodesOf(serving(cluster)).includes('n2'), 'n2 is left', 10_000);
    const causes = serving(cluster).map((t) => t.cause);
    assert.ok(causes.includes('n2 has the taint disk=old'), causes.join());
  });

  it('is left by what does not fit there any more', () => {
    const placement = { constraints: ['node.labels.zone==a'] };
    const cluster = running(2, firstFirst({ taskTemplate: { placement } }));
    leavesNoGap(cluster);
    editNode(cluster, 'n2', { labels: { zone: 'b' } });
    cluster.runUntil(() => nodesOf(serving(cluster)).join() === 'n1', 'both run on n1');
    cluster.runUntil(() => cluster.containers().length === 2, 'two containers are left');
  });
});

describe('a node out of reach', () => {
  it('that is back before anything could replace its tasks goes on with them', () => {
    const placement = { constraints: ['node.labels.zone==b'] };
    const cluster = running(2, { taskTemplate: { placement } });
    const before = serving(cluster).map((t) => t.id);
    cluster.partition('n3');
    cluster.run(60_000);
    assert.deepEqual(serving(cluster), []);
    cluster.heal('n3');
    cluster.run(10_000);
    assert.deepEqual(
      serving(cluster).map((t) => t.id),
      before,
    );
    assert.equal(cluster.containers().length, 2);
  });

  it('that crashed is told from one that did not', () => {
    const placement = { constraints: ['node.labels.zone==b'] };
    const cluster = running(2, { taskTemplate: { placement, restartPolicy: { delayMs: 0 } } });
    const before = serving(cluster).map((t) => t.id);
    cluster.kill('n3');
    cluster.run(60_000);
    cluster.start('n3');
    cluster.run(10_000);
    assert.equal(serving(cluster).length, 2);
    assert.ok(serving(cluster).every((t) => !before.includes(t.id)));
    assert.equal(cluster.containers().length, 2);
  });

  it('has what runs there replaced at once', () => {
    const cluster = running(3, {});
    cluster.partition('n3');
    cluster.runUntil(() => !cluster.isUp('n3'), 'n3 is down');
    const downAtMs = cluster.nowMs;
    cluster.runUntil(() => serving(cluster).length === 3, 'three run');
    assert.ok(cluster.nowMs - downAtMs <= 4000, `took ${cluster.nowMs - downAtMs} ms`);
    const lost = cluster.view.tasksOfNode('n3');
    cluster.run(1000);
    assert.ok(
      lost.every(({ id }) => !isWanted(cluster.view.task(id)?.desiredState ?? TaskState.RUNNING)),
    );
  });

  it('has nothing started twice that must not be', () => {
    const restartPolicy = { condition: RestartCondition.NONE };
    const cluster = running(3, { taskTemplate: { restartPolicy } });
    cluster.partition('n3');
    cluster.run(30_000);
    assert.equal(cluster.containers().length, 3);
    cluster.heal('n3');
    cluster.run(10_000);
    assert.equal(serving(cluster).length, 3);
  });
});

describe('moves and updates together', () => {
  const node = fc.constantFrom('n1', 'n2', 'n3');
  const action = fc.oneof(
    fc.record({ do: fc.constantFrom('drain' as const, 'activate' as const), node }),
    fc.record({ do: fc.constantFrom('partition' as const, 'heal' as const), node }),
    fc.record({ do: fc.constantFrom('kill' as const, 'start' as const), node }),
    fc.record({ do: fc.constant('update' as const), image: fc.constantFrom('web:2', 'web:sick') }),
    fc.record({ do: fc.constant('constrain' as const), zone: fc.constantFrom('a', 'b') }),
  );
  type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

  const act = (cluster: ModelCluster, what: Action): void => {
    if (what.do === 'drain') drain(cluster, what.node);
    else if (what.do === 'activate') activate(cluster, what.node);
    else if (what.do === 'update') setImage(cluster, what.image);
    else if (what.do === 'constrain') constrain(cluster, `node.labels.zone==${what.zone}`);
    else cluster[what.do](what.node);
    cluster.settle();
  };

  /** How many places an update has taken up without having something that runs there yet. */
  const begun = (cluster: ModelCluster): number => {
    const { specVersion, updateStatus } = cluster.service();
    if (updateStatus?.state !== UpdateState.UPDATING) return 0;
    return cluster.tasks().filter((t) => {
      const old = cluster.view.task(t.replacesTaskId);
      const isStarting =
        !isTerminal(t.status.state) && rankOf(t.status.state) < rankOf(TaskState.RUNNING);
      const isOwn = t.specVersion === specVersion && old?.specVersion !== specVersion;
      return isOwn && isStarting && isWanted(t.desiredState) && t.cause.startsWith('update');
    }).length;
  };

  it('leave no gap where the new task starts first, whatever happens, and come to rest', () => {
    const script = fc.array(fc.tuple(action, fc.integer({ min: 0, max: 5000 })), { maxLength: 8 });
    const parallelism = fc.integer({ min: 1, max: 3 });
    fc.assert(
      fc.property(fc.integer(), parallelism, script, (seed, atOnce, steps) => {
        const cluster = running(4, firstFirst({ updateConfig: { parallelism: atOnce } }), seed);
        cluster.faults.sickImages = ['web:sick'];
        leavesNoGap(cluster);
        const check = cluster.onWrite;
        cluster.onWrite = () => {
          check();
          assert.ok(begun(cluster) <= atOnce, cluster.show());
        };
        for (const [what, waitMs] of steps) {
          act(cluster, what);
          cluster.run(waitMs);
        }
        for (const id of ['n1', 'n2', 'n3'] as const) {
          cluster.start(id);
          act(cluster, { do: 'activate', node: id });
        }
        act(cluster, { do: 'update', image: 'web:2' });
        constrain(cluster);
        cluster.settle();
        setImage(cluster, 'web:9');
        untilUpdate(cluster, UpdateState.COMPLETED);
        cluster.run(10_000);
        assert.deepEqual([serving(cluster).length, cluster.containers().length], [4, 4]);
        assert.equal(cluster.control(), 0);
      }),
      { numRuns: 150 },
    );
  });

  it('are remembered by nothing but what is stored', () => {
    const cluster = running(4, firstFirst());
    assert.equal(cluster.view.node('n1')?.status.state, NodeState.READY);
    drain(cluster, 'n1');
    cluster.run(1500);
    const again = cluster.control();
    assert.equal(again, 0, 'a second look at the same state writes nothing');
  });
});
