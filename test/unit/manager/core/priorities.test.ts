import assert from 'node:assert/strict';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService } from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';
import { replicated } from './web-service.js';

/** Two nodes of 4 CPUs; each replica of a service takes 2. */
function withServices(): ModelCluster {
  const cluster = new ModelCluster({ nodes: 2 });
  cluster.onWrite = () => {
    checkInvariants(cluster);
  };
  return cluster;
}

function add(cluster: ModelCluster, name: string, replicas: number, priority: number): void {
  const resources = { reservations: { nanoCpus: 2e9 } };
  const taskTemplate = { priority, resources, restartPolicy: { delayMs: 0 } };
  cluster.put('service', aService({ spec: { name, ...replicated(replicas), taskTemplate } }));
}

describe('a service of higher priority', () => {
  it('takes the room of others, whose tasks wait, and gives it back', () => {
    const cluster = withServices();
    add(cluster, 'batch', 4, 0);
    cluster.runUntil(() => cluster.running('batch').length === 4, 'batch fills the nodes');
    add(cluster, 'db', 1, 10);
    cluster.runUntil(() => cluster.running('db').length === 1, 'db runs');
    cluster.run(5000);
    assert.equal(cluster.running('batch').length, 3);
    const [gone] = cluster.tasks('batch').filter((t) => t.status.state === TaskState.SHUTDOWN);
    const waiting = cluster.tasks('batch').find((t) => t.status.state === TaskState.PENDING);
    assert.equal(gone?.desiredReason, 'gives way to db.1 (priority 10)');
    assert.deepEqual([waiting?.slot, waiting?.cause], [gone.slot, gone.desiredReason]);
    cluster.addNode(aNode({ id: 'n3' }));
    cluster.runUntil(() => cluster.running('batch').length === 4, 'all of batch runs again');
  });
});
