import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Task } from '../../../../common/model/objects.js';
import { placeName } from '../../../../common/model/task-place.js';
import { AllocationState } from '../../../../manager/core/allocator/allocation-state.js';
import { planAllocation } from '../../../../manager/core/allocator/plan-allocation.js';
import { planService } from '../../../../manager/core/orchestrator/plan-service.js';
import { planNewTasks, type NewTasksPlan } from '../../../../manager/core/plan-new-tasks.js';
import { pendingTasks, planSchedule } from '../../../../manager/core/scheduler/schedule.js';
import { SchedulerState } from '../../../../manager/core/scheduler/state.js';
import type { Snapshot } from '../../../../manager/core/snapshot.js';
import { TaskState, type ServiceSpec } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
  type Some,
} from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';

const NETWORK = aNetwork({
  vni: 5000,
  ipam: [{ subnet: '10.9.0.0/28', gateway: '10.9.0.1', ipRange: '' }],
});
const CONTEXT = { nowMs: T0, newId: idsFrom('t') };

function idsFrom(prefix: string): () => string {
  let count = 0;
  return () => `${prefix}${++count}`;
}

function webOf(replicas: number, spec: Some<ServiceSpec['taskTemplate']> = {}) {
  return aService({
    spec: {
      mode: { $case: 'replicated', value: { replicas } },
      endpointSpec: { ports: [{ publishedPort: 8080, targetPort: 80 }] },
      taskTemplate: { networks: [{ target: NETWORK.id }], ...spec },
    },
  });
}

function planWeb(snapshot: Snapshot, means = meansOf(snapshot)): NewTasksPlan {
  return planNewTasks(planService(snapshot, 'id-web', CONTEXT), snapshot, means, T0);
}

function meansOf(snapshot: Snapshot) {
  return { allocation: AllocationState.of(snapshot), scheduler: SchedulerState.of(snapshot) };
}

function tasksOf({ plan }: NewTasksPlan): Task[] {
  return plan.groups.flat().flatMap((c) => (c.kind === 'task' ? [c.object] : []));
}

/** What a task has come to, without what differs between any two runs. */
function fatesOf(tasks: readonly Task[]): unknown[] {
  return tasks.map((t) => [
    placeName(t),
    t.status.state,
    t.status.message,
    t.nodeId,
    t.networksAttachments,
  ]);
}

describe('the steps of new tasks in one', () => {
  it('come to what they come to one by one', () => {
    const cases = fc.record({
      replicas: fc.integer({ min: 1, max: 20 }),
      cpus: fc.array(fc.nat(6), { minLength: 1, maxLength: 4 }),
      published: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ replicas, cpus, published }) => {
        const [apart, together] = [0, 1].map(() => {
          const cluster = new ModelCluster({ nodes: 0 });
          cluster.put('network', NETWORK);
          for (const [i, count] of cpus.entries()) {
            const resources = { nanoCpus: count * 1e9, memoryBytes: 2 ** 40 };
            cluster.addNode(aNode({ id: `n${i}`, description: { resources } }));
          }
          const reservations = { nanoCpus: 1e9 };
          const service = webOf(replicas, { resources: { reservations } });
          if (!published) service.spec.endpointSpec.ports = [];
          cluster.put('service', service);
          return cluster;
        });
        assert.ok(apart && together);
        const { view, context } = apart;
        apart.apply(planService(view, 'id-web', context));
        apart.apply(planAllocation(view, context.nowMs).plan);
        apart.apply(planSchedule(view, pendingTasks(view), context.nowMs));
        const plan = planService(together.view, 'id-web', together.context);
        together.apply(
          planNewTasks(plan, together.view, meansOf(together.view), together.nowMs).plan,
        );
        assert.deepEqual(fatesOf(together.tasks()), fatesOf(apart.tasks()));
        assert.deepEqual(together.service().endpoint, apart.service().endpoint);
      }),
      { numRuns: 50 },
    );
  });

  it('are one group with the endpoint of a service that has none yet', () => {
    const snapshot = snapshotOf({ networks: [NETWORK], services: [webOf(3)], nodes: [aNode()] });
    const { plan } = planWeb(snapshot);
    const [group] = plan.groups;
    assert.deepEqual(
      group?.map((c) => `${c.action} ${c.kind}`),
      ['update service', ...Array<string>(3).fill('create task')],
    );
    assert.deepEqual([plan.groups.length, plan.guards, plan.requeueAfterMs], [1, undefined, 0]);
  });

  it('wait while another plan gives their service its endpoint', () => {
    const snapshot = snapshotOf({ networks: [NETWORK], services: [webOf(3)], nodes: [aNode()] });
    const means = meansOf(snapshot);
    planWeb(snapshot, means);
    const { plan, allocated, scheduled } = planWeb(snapshot, means);
    assert.deepEqual([plan.groups, allocated, scheduled], [[], [], []]);
    assert.ok((plan.requeueAfterMs ?? 0) > 0);
  });

  it('say in the tasks what they lack, and keep nothing for them', () => {
    const snapshot = snapshotOf({ networks: [NETWORK], services: [webOf(15)] });
    const means = meansOf(snapshot);
    const tasks = tasksOf(planWeb(snapshot, means));
    const states = tasks.map((t) => t.status.state);
    assert.equal(states.filter((s) => s === TaskState.PENDING).length, 12); // less gateway and VIP
    assert.equal(states.filter((s) => s === TaskState.NEW).length, 3);
    assert.match(tasks.at(-1)?.status.message ?? '', /no address is left on network backend/);
    assert.match(tasks[0]?.status.message ?? '', /the cluster has no nodes/);
    assert.deepEqual([means.scheduler.pending(), means.allocation.waiting()], [[], []]);
  });

  it('leave the choice of nodes to the scheduler while others wait with a higher priority', () => {
    const urgent = aTask({
      serviceId: 'id-db',
      spec: { priority: 5, placement: { constraints: ['node.labels.a==b'] } },
      status: { state: TaskState.PENDING, message: 'waits for a node' },
    });
    const nodes = [aNode()];
    const services = [webOf(2)];
    const snapshot = snapshotOf({ networks: [NETWORK], services, nodes, tasks: [urgent] });
    const means = meansOf(snapshot);
    const states = tasksOf(planWeb(snapshot, means)).map((t) => t.status.state);
    assert.deepEqual(states, [TaskState.PENDING, TaskState.PENDING]);
    assert.deepEqual(means.scheduler.pending(), [urgent]);
  });

  it('make others give way, and tell them so in the same plan', () => {
    const reservations = { nanoCpus: 3e9 };
    const low = aTask({
      serviceId: 'id-low',
      nodeId: 'n1',
      spec: { resources: { reservations } },
      status: { state: TaskState.RUNNING },
    });
    const services = [webOf(1, { priority: 9, resources: { reservations } })];
    const content = { networks: [NETWORK], services, nodes: [aNode()], tasks: [low] };
    const snapshot = snapshotOf(content);
    const result = planWeb(snapshot);
    const victim = tasksOf(result).find((t) => t.id === low.id);
    assert.equal(victim?.desiredState, TaskState.SHUTDOWN);
    assert.ok(result.scheduled.some((c) => c.object.id === low.id));
  });

  it('never make way for others of tasks that are only being created', () => {
    const reservations = { nanoCpus: 3e9 };
    const snapshot = snapshotOf({
      networks: [NETWORK],
      services: [webOf(1, { priority: 9, resources: { reservations } })],
      nodes: [aNode()],
    });
    const means = meansOf(snapshot);
    const created = aTask({
      ...{ version: 0, serviceId: 'id-low', nodeId: 'n1' },
      ...{ spec: { resources: { reservations } }, status: { state: TaskState.ASSIGNED } },
    });
    means.scheduler.putTask(created);
    const tasks = tasksOf(planWeb(snapshot, means));
    assert.deepEqual(
      tasks.map((t) => [t.serviceId, t.status.state]),
      [['id-web', TaskState.PENDING]],
    );
  });

  it('have nothing to do with plans that make no tasks', () => {
    const snapshot = snapshotOf({ networks: [NETWORK], services: [webOf(0)], nodes: [aNode()] });
    const wanted = planService(snapshot, 'id-web', CONTEXT);
    assert.equal(planNewTasks(wanted, snapshot, meansOf(snapshot), T0).plan, wanted);
  });
});
