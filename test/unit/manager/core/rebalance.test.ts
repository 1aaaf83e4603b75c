import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Service, Task } from '../../../../common/model/objects.js';
import { isWanted } from '../../../../common/model/task-state.js';
import { UpdateOrder, UpdateState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aService, type Some } from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';
import {
  activate,
  clusterWith,
  drain,
  nodesOf,
  replicated,
  serving,
  setImage,
  untilUpdate,
} from './web-service.js';

const { START_FIRST, STOP_FIRST } = UpdateOrder;

/** Service web, which wishes to be rebalanced, with all of its replicas on n1 and n2. */
function lopsided(replicas: number, some: Some<Service['spec']> = {}, seed = 1): ModelCluster {
  const updateConfig = {
    parallelism: 1,
    monitorMs: 1000,
    order: START_FIRST,
    ...some.updateConfig,
  };
  const spec = { ...replicated(replicas), rebalance: true, ...some, updateConfig };
  const cluster = clusterWith(spec, seed);
  drain(cluster, 'n3');
  cluster.step();
  cluster.runUntil(() => serving(cluster).length === replicas, 'all run');
  cluster.runUntil(() => !nodesOf(cluster.running()).includes('n3'), 'none runs on n3');
  cluster.run(20_000);
  return cluster;
}

function counts(cluster: ModelCluster): number[] {
  return ['n1', 'n2', 'n3'].map((n) => serving(cluster).filter((t) => t.nodeId === n).length);
}

function moves(cluster: ModelCluster): Task[] {
  return cluster.tasks().filter((t) => t.takesOver);
}

describe('rebalancing', () => {
  for (const order of [START_FIRST, STOP_FIRST]) {
    it(`moves one task at a time to a node that is back, and no more than it must (${order})`, () => {
      const cluster = lopsided(6, { updateConfig: { order } });
      assert.deepEqual(counts(cluster), [3, 3, 0]);
      const least = order === START_FIRST ? 6 : 5;
      cluster.onWrite = () => {
        checkInvariants(cluster);
        const wanted = cluster.tasks().filter((t) => isWanted(t.desiredState)).length;
        assert.ok(wanted <= (order === START_FIRST ? 7 : 6), cluster.show());
        assert.ok(serving(cluster).length >= least, cluster.show());
      };
      activate(cluster, 'n3');
      cluster.run(120_000);
      assert.deepEqual(counts(cluster), [2, 2, 2]);
      assert.equal(moves(cluster).length, 2);
      assert.match(moves(cluster)[0]?.cause ?? '', /^rebalanced from n[12] to n3$/);
    });
  }

  it('leaves services alone that do not wish it', () => {
    const cluster = lopsided(6, { rebalance: false });
    activate(cluster, 'n3');
    cluster.run(120_000);
    assert.deepEqual(counts(cluster), [3, 3, 0]);
  });

  it('waits for an update to be over', () => {
    const cluster = lopsided(6, { updateConfig: { delayMs: 3000 } });
    setImage(cluster, 'web:2');
    activate(cluster, 'n3');
    cluster.onWrite = () => {
      const isOver = cluster.service().updateStatus?.state === UpdateState.COMPLETED;
      assert.ok(isOver || moves(cluster).length === 0, cluster.show());
    };
    untilUpdate(cluster, UpdateState.COMPLETED);
    cluster.run(60_000);
    assert.deepEqual(counts(cluster).sort(), [2, 2, 2]);
  });

  it('leaves the delay and the monitor period of updates between two moves', () => {
    const cluster = lopsided(6, { updateConfig: { delayMs: 9000 } });
    activate(cluster, 'n3');
    cluster.run(120_000);
    const [a = 0, b = 0] = moves(cluster).map((t) => t.createdAtMs);
    assert.ok(Math.abs(a - b) >= 9000);
  });

  it('gives up what does not come up there, and tries again only much later', () => {
    const cluster = lopsided(6, { updateConfig: { progressDeadlineMs: 20_000 } });
    const before = serving(cluster).map((t) => t.id);
    cluster.faults.brokenImages = ['web:1'];
    activate(cluster, 'n3');
    cluster.run(5 * 60_000);
    assert.deepEqual(
      serving(cluster).map((t) => t.id),
      before,
    );
    assert.equal(moves(cluster).length, 1);
    cluster.faults.brokenImages = [];
    cluster.run(10 * 60_000);
    assert.deepEqual(counts(cluster), [2, 2, 2]);
  });

  it('always comes to an end, and leaves no two nodes further apart than one task', () => {
    const away = fc.array(fc.boolean(), { minLength: 1, maxLength: 5 });
    const replicas = fc.integer({ min: 1, max: 16 });
    const order = fc.constantFrom(START_FIRST, STOP_FIRST);
    fc.assert(
      fc.property(fc.integer(), away, replicas, order, (seed, drained, count, first) => {
        const cluster = new ModelCluster({ seed, nodes: drained.length + 1 });
        const updateConfig = { parallelism: 1, monitorMs: 500, order: first };
        const spec = { ...replicated(count), updateConfig, rebalance: true };
        for (const [i, is] of drained.entries()) if (is) drain(cluster, `n${i + 1}`);
        cluster.put('service', aService({ spec }));
        cluster.onWrite = () => {
          checkInvariants(cluster);
        };
        cluster.settle();
        cluster.runUntil(() => serving(cluster).length === count, 'all run');
        for (const [i] of drained.entries()) activate(cluster, `n${i + 1}`);
        cluster.run(20_000 + count * 5000);
        const nodes = [...cluster.view.nodes()].map((n) => n.id);
        const perNode = nodes.map((id) => serving(cluster).filter((t) => t.nodeId === id).length);
        assert.ok(Math.max(...perNode) - Math.min(...perNode) <= 1, perNode.join());
        const made = Math.max(...cluster.tasks().map((t) => t.createdAtMs));
        cluster.run(30_000);
        assert.ok(
          cluster.tasks().every((t) => t.createdAtMs <= made),
          'it is at rest',
        );
      }),
      { numRuns: 30 },
    );
  });
});
