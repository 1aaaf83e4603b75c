import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { pendingTasks, planSchedule } from '../../../../../manager/core/scheduler/schedule.js';
import {
  NodeAvailability,
  NodeState,
  PublishMode,
  TaskState,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, snapshotOf, T0, type Some } from '../../../../support/builders.js';

const GIB = 1024 ** 3;

function pending(count: number, some: Some<TaskMessage> = {}): Task[] {
  return Array.from({ length: count }, (_, i) =>
    aTask({ slot: i + 1, status: { state: TaskState.PENDING }, ...some }),
  );
}

function schedule(nodes: readonly Node[], tasks: readonly Task[]): Task[] {
  const snapshot = snapshotOf({ nodes, tasks });
  const plan = planSchedule(snapshot, pendingTasks(snapshot), T0);
  return plan.groups.flat().map((change) => change.object as Task);
}

function nodesOf(tasks: readonly Task[]): string[] {
  return tasks.map((t) => t.nodeId).sort();
}

function three(some: readonly Some<Parameters<typeof aNode>[0]>[] = []): Node[] {
  return [1, 2, 3].map((i) => aNode({ id: `n${i}`, ...some[i - 1] }));
}

describe('scheduler', () => {
  it('spreads a service evenly, then by the load of the nodes', () => {
    const other = aTask({
      serviceId: 'id-db',
      nodeId: 'n1',
      status: { state: TaskState.RUNNING },
    });
    const placed = schedule(three(), [...pending(4), other]);
    assert.deepEqual(nodesOf(placed), ['n1', 'n2', 'n2', 'n3']);
    assert.ok(placed.every((t) => t.status.state === TaskState.ASSIGNED));
  });

  it('gives nothing to a node that comes and goes, unless there is no other', () => {
    const status = { stateChangedAtMs: T0 - 1000, lostAtMs: [T0 - 60_000, T0 - 30_000] };
    const unsteady = aNode({ id: 'n1', status });
    assert.deepEqual(nodesOf(schedule([unsteady, aNode({ id: 'n2' })], pending(3))), [
      ...['n2', 'n2', 'n2'],
    ]);
    assert.deepEqual(nodesOf(schedule([unsteady], pending(1))), ['n1']);
    const settled = aNode({ id: 'n1', status: { ...status, stateChangedAtMs: T0 - 30_000 } });
    assert.deepEqual(nodesOf(schedule([settled, aNode({ id: 'n2' })], pending(2))), ['n1', 'n2']);
  });

  it('leaves alone what is not pending, not wanted or has a node', () => {
    const idle = [
      aTask({ slot: 1 }),
      aTask({ slot: 2, desiredState: TaskState.SHUTDOWN, status: { state: TaskState.PENDING } }),
      aTask({ slot: 3, nodeId: 'n1', status: { state: TaskState.ASSIGNED } }),
    ];
    assert.deepEqual(schedule(three(), idle), []);
  });

  const unplaceable: readonly {
    name: string;
    nodes: Node[];
    task: Some<TaskMessage>;
    message: string;
  }[] = [
    {
      name: 'no nodes',
      nodes: [],
      task: {},
      message: 'no suitable node: the cluster has no nodes',
    },
    {
      name: 'resources and a constraint',
      nodes: three([
        { spec: { labels: { zone: 'b' } } },
        { spec: { labels: { zone: 'b' } }, description: { resources: { nanoCpus: 6e9 } } },
        { spec: { labels: { zone: 'a' } } },
      ]),
      task: {
        spec: {
          resources: { reservations: { nanoCpus: 64e9 } },
          placement: { constraints: ['node.labels.zone==b'] },
        },
      },
      message:
        'no suitable node: 2 of 3 nodes lack resources (needs 64 CPUs; the largest free is ' +
        'n2 with 6), 1 of 3 does not satisfy node.labels.zone==b',
    },
    {
      name: 'memory',
      nodes: [aNode()],
      task: { spec: { resources: { reservations: { memoryBytes: 16 * GIB } } } },
      message:
        'no suitable node: 1 of 1 node lacks resources (needs 16GiB of memory; the largest ' +
        'free is n1 with 8GiB)',
    },
    {
      name: 'nodes out of service',
      nodes: three([
        { status: { state: NodeState.DOWN } },
        { spec: { availability: NodeAvailability.DRAIN } },
        { spec: { availability: NodeAvailability.PAUSE } },
      ]),
      task: {},
      message:
        'no suitable node: 3 of 3 nodes take no tasks (n1 is down, n2 is drained, n3 is paused)',
    },
    {
      name: 'platform',
      nodes: [aNode()],
      task: { spec: { placement: { platforms: [{ os: 'linux', architecture: 'arm64' }] } } },
      message: 'no suitable node: 1 of 1 node is not of platform linux/arm64',
    },
  ];
  for (const { name, nodes, task, message } of unplaceable) {
    it(`says why a task waits: ${name}`, () => {
      const waiting = schedule(nodes, pending(1, task));
      assert.deepEqual(
        waiting.map((t) => [t.status.state, t.status.message]),
        [[TaskState.PENDING, message]],
      );
      assert.deepEqual(schedule(nodes, waiting), [], 'written again without a change');
    });
  }

  it('gives a host port of a node to one task', () => {
    const hostPorts = [{ targetPort: 80, publishedPort: 80, publishMode: PublishMode.HOST }];
    const placed = schedule(three(), pending(4, { hostPorts }));
    assert.deepEqual(nodesOf(placed), ['', 'n1', 'n2', 'n3']);
    const waiting = placed.find((t) => t.nodeId === '');
    assert.equal(waiting?.status.message, 'no suitable node: 3 of 3 nodes have port 80/tcp in use');
  });

  it('keeps host ports off nodes where another program has them', () => {
    const hostPorts = [{ targetPort: 80, publishedPort: 80, publishMode: PublishMode.HOST }];
    const usedPorts = [{ port: 80, holder: 'nginx (pid 9)' }];
    const nodes = [1, 2, 3].map((i) =>
      aNode({ id: `n${i}`, ...(i === 2 ? {} : { description: { usedPorts } }) }),
    );
    const [first, second] = schedule(nodes, pending(2, { hostPorts }));
    assert.equal(first?.nodeId, 'n2');
    assert.equal(
      second?.status.message,
      'no suitable node: 3 of 3 nodes have port 80/tcp in use (on n1 by nginx (pid 9), on n3 by nginx (pid 9))',
    );
  });

  it('frees what ended tasks held, not what stopping ones hold', () => {
    const spec = { resources: { reservations: { nanoCpus: 3e9 } } };
    const held = (state: TaskState): Task =>
      aTask({
        generation: 1,
        nodeId: 'n1',
        desiredState: TaskState.SHUTDOWN,
        spec,
        status: { state },
      });
    const next = aTask({ generation: 2, spec, status: { state: TaskState.PENDING } });
    assert.equal(schedule([aNode()], [held(TaskState.RUNNING), next])[0]?.nodeId, '');
    assert.equal(schedule([aNode()], [held(TaskState.SHUTDOWN), next])[0]?.nodeId, 'n1');
  });

  it('keeps to a maximum per node, but lets an update replace in place', () => {
    const spec = { placement: { maxReplicas: 1 } };
    const placed = schedule(three(), pending(4, { spec }));
    assert.deepEqual(nodesOf(placed), ['', 'n1', 'n2', 'n3']);
    const old = aTask({ nodeId: 'n1', spec, status: { state: TaskState.RUNNING } });
    const replacement = aTask({
      generation: 2,
      specVersion: 2,
      spec,
      status: { state: TaskState.PENDING },
    });
    assert.equal(schedule([aNode()], [old, replacement])[0]?.nodeId, 'n1');
  });

  it('spreads over the values of a label, whatever the nodes behind each', () => {
    const zones = ['a', 'a', 'a', 'b'];
    const nodes = zones.map((zone, i) => aNode({ id: `n${i + 1}`, spec: { labels: { zone } } }));
    const preferences = [{ spreadDescriptor: 'node.labels.zone' }];
    const placed = schedule(nodes, pending(6, { spec: { placement: { preferences } } }));
    assert.deepEqual(nodesOf(placed), ['n1', 'n2', 'n3', 'n4', 'n4', 'n4']);
  });

  it('takes a node where the service keeps failing last', () => {
    const failed = Array.from({ length: 5 }, (_, i) =>
      aTask({
        slot: 1,
        generation: i + 1,
        nodeId: 'n1',
        desiredState: TaskState.SHUTDOWN,
        status: { state: TaskState.FAILED, timestampMs: T0 - 1000 },
      }),
    );
    const tasks = pending(4).map((t) => ({ ...t, slot: t.slot + 1, id: `x${t.slot}` }));
    assert.deepEqual(nodesOf(schedule(three(), [...failed, ...tasks])), ['n2', 'n2', 'n3', 'n3']);
  });

  it('never overfills a node, and differs by at most one among equal nodes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 2000 }),
        (nodeCount, groups, milliCpus) => {
          const nodes = Array.from({ length: nodeCount }, (_, i) => aNode({ id: `n${i + 1}` }));
          const reservations = { nanoCpus: milliCpus * 1e6 };
          const tasks = groups.flatMap((count, g) =>
            pending(count, { serviceId: `id-s${g}`, spec: { resources: { reservations } } }),
          );
          const placed = schedule(nodes, tasks).filter((t) => t.nodeId !== '');
          for (const node of nodes) {
            const here = placed.filter((t) => t.nodeId === node.id).length;
            assert.ok(here * reservations.nanoCpus <= 4e9);
          }
          const room = milliCpus === 0 ? Infinity : Math.floor(4000 / milliCpus) * nodeCount;
          assert.equal(placed.length, Math.min(tasks.length, room));
          if (placed.length < tasks.length) return;
          for (const g of groups.keys()) {
            const counts = nodes.map(
              (n) => placed.filter((t) => t.nodeId === n.id && t.serviceId === `id-s${g}`).length,
            );
            assert.ok(milliCpus > 0 || Math.max(...counts) - Math.min(...counts) <= 1);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
