import assert from 'node:assert/strict';
import type { Node, Task } from '../../../../../common/model/objects.js';
import {
  NodeAvailability,
  PlacementStrategy,
  TaintEffect,
  TaskState,
  type DeepPartial,
  type Placement,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, type Some } from '../../../../support/builders.js';
import { labelled, messageOf, nodes, nodesOf, pending, running, schedule } from './placing.js';

const MIB = 1024 ** 2;
const zones = (...names: string[]): Node[] => nodes(...names.map((zone) => labelled({ zone })));
const placed = (placement: DeepPartial<Placement>): Some<TaskMessage> => ({ spec: { placement } });
const tainted = (effect: TaintEffect, value = ''): Some<Parameters<typeof aNode>[0]> => ({
  spec: { taints: [{ key: 'gpu', value, effect }] },
});

interface Case {
  name: string;
  nodes: Node[];
  tasks: Task[];
  /** Where the pending ones go. */
  goTo: string[];
  message?: string;
}

const TAINTS: readonly Case[] = [
  {
    name: 'a taint keeps off what does not tolerate it, of either effect',
    nodes: nodes(tainted(TaintEffect.NO_SCHEDULE), tainted(TaintEffect.NO_EXECUTE, 'yes'), {}),
    tasks: pending(2),
    goTo: ['n3', 'n3'],
  },
  {
    name: 'a taint that would rather not have it makes a node the last choice',
    nodes: nodes(tainted(TaintEffect.PREFER_NO_SCHEDULE), {}),
    tasks: pending(2),
    goTo: ['n2', 'n2'],
  },
  {
    name: 'and still a choice',
    nodes: nodes(tainted(TaintEffect.PREFER_NO_SCHEDULE)),
    tasks: pending(1),
    goTo: ['n1'],
  },
  {
    name: 'a toleration of the key opens the node',
    nodes: nodes(tainted(TaintEffect.NO_SCHEDULE, 'yes')),
    tasks: pending(1, placed({ tolerations: [{ key: 'gpu' }] })),
    goTo: ['n1'],
  },
  {
    name: 'one without a key tolerates everything',
    nodes: nodes(tainted(TaintEffect.NO_SCHEDULE), tainted(TaintEffect.NO_EXECUTE)),
    tasks: pending(2, placed({ tolerations: [{}] })),
    goTo: ['n1', 'n2'],
  },
  {
    name: 'one for some time keeps what is there, but brings nothing new',
    nodes: nodes(tainted(TaintEffect.NO_EXECUTE), {}),
    tasks: pending(2, placed({ tolerations: [{ key: 'gpu', tolerationMs: 60_000 }] })),
    goTo: ['n2', 'n2'],
  },
  {
    name: 'another value or effect does not',
    nodes: nodes(tainted(TaintEffect.NO_SCHEDULE, 'yes')),
    tasks: pending(
      1,
      placed({
        tolerations: [
          { key: 'gpu', value: 'no' },
          { key: 'gpu', effect: TaintEffect.NO_EXECUTE },
        ],
      }),
    ),
    goTo: [''],
    message: 'no suitable node: 1 of 1 node has taints that it does not tolerate (gpu=yes)',
  },
];

const SPREADS: readonly Case[] = [
  {
    name: 'a condition holds tasks back rather than put them on one side',
    nodes: [...zones('a', 'b'), aNode({ id: 'n3', spec: { labels: { zone: 'b' } } })],
    tasks: pending(4, {
      spec: {
        resources: { reservations: { nanoCpus: 4e9 } },
        placement: { spreads: [{ key: 'node.labels.zone', required: true }] },
      },
    }),
    goTo: ['', 'n1', 'n2', 'n3'],
  },
  {
    name: 'says which side holds the others back',
    nodes: zones('a', 'b'),
    tasks: [
      running('n1', { slot: 8, spec: { resources: { reservations: { nanoCpus: 4e9 } } } }),
      running('n2', { slot: 9 }),
      ...pending(2, {
        spec: {
          resources: { reservations: { nanoCpus: 1e9 } },
          placement: { spreads: [{ key: 'node.labels.zone', required: true }] },
        },
      }),
    ],
    goTo: ['', 'n2'],
    message:
      'no suitable node: 1 of 2 nodes lacks resources (needs 1 CPUs; the largest free is n1 with 0), ' +
      '1 of 2 is ahead in the spread over node.labels.zone (at most 1 more than a with 1, where nothing fits)',
  },
  {
    name: 'values of nodes that cannot have the tasks hold nothing back',
    nodes: nodes(labelled({ zone: 'a' }), {
      spec: { labels: { zone: 'b' }, availability: NodeAvailability.DRAIN },
    }),
    tasks: pending(3, placed({ spreads: [{ key: 'node.labels.zone', required: true }] })),
    goTo: ['n1', 'n1', 'n1'],
  },
  {
    name: 'a node without the label is no place for a condition',
    nodes: nodes({}, labelled({ zone: 'a' })),
    tasks: pending(2, placed({ spreads: [{ key: 'node.labels.zone', required: true }] })),
    goTo: ['n2', 'n2'],
  },
  {
    name: 'and says so',
    nodes: nodes({}),
    tasks: pending(1, placed({ spreads: [{ key: 'node.labels.zone', required: true }] })),
    goTo: [''],
    message: 'no suitable node: 1 of 1 node has no node.labels.zone to spread over (n1)',
  },
  {
    name: 'a larger skew is allowed where it is asked for',
    nodes: zones('a', 'b'),
    tasks: [
      running('n2', {
        serviceId: 'id-x',
        spec: { resources: { reservations: { nanoCpus: 4e9 } } },
      }),
      ...pending(4, {
        spec: {
          resources: { reservations: { nanoCpus: 1e9 } },
          placement: { spreads: [{ key: 'node.labels.zone', required: true, maxSkew: 3 }] },
        },
      }),
    ],
    goTo: ['', 'n1', 'n1', 'n1'],
  },
  {
    name: 'a wish yields where there is no room',
    nodes: zones('a', 'b'),
    tasks: pending(3, {
      hostPorts: [],
      spec: {
        placement: {
          constraints: ['node.hostname==n1'],
          spreads: [{ key: 'node.labels.zone' }],
        },
      },
    }),
    goTo: ['n1', 'n1', 'n1'],
  },
  {
    name: 'a wish evens out over the values, whatever the nodes behind each',
    nodes: zones('a', 'a', 'a', 'b'),
    tasks: pending(6, placed({ spreads: [{ key: 'node.labels.zone' }] })),
    goTo: ['n1', 'n2', 'n3', 'n4', 'n4', 'n4'],
  },
  {
    name: 'preferences spread within each other',
    nodes: nodes(
      labelled({ zone: 'a', rack: '1' }),
      labelled({ zone: 'a', rack: '2' }),
      labelled({ zone: 'a', rack: '2' }),
      labelled({ zone: 'b', rack: '1' }),
    ),
    tasks: pending(
      8,
      placed({
        preferences: [
          { spreadDescriptor: 'node.labels.zone' },
          { spreadDescriptor: 'node.labels.rack' },
        ],
      }),
    ),
    goTo: ['n1', 'n1', 'n2', 'n3', 'n4', 'n4', 'n4', 'n4'],
  },
  {
    name: 'a task that follows another in its place is not in its own way',
    nodes: zones('a', 'b'),
    tasks: [
      running('n1', placed({ spreads: [{ key: 'node.labels.zone', required: true }] })),
      ...pending(1, {
        ...placed({ spreads: [{ key: 'node.labels.zone', required: true }], maxReplicas: 1 }),
        generation: 2,
        specVersion: 2,
      }),
      running('n2', { slot: 2 }),
    ],
    goTo: ['n1'],
  },
];

const RANKS: readonly Case[] = [
  {
    name: 'the larger share of free resources comes first, not the smaller number of tasks',
    nodes: nodes(
      {},
      { description: { resources: { nanoCpus: 64e9, memoryBytes: 256 * 1024 * MIB } } },
    ),
    tasks: [
      running('n1', {
        serviceId: 'id-a',
        spec: { resources: { reservations: { nanoCpus: 2e9 } } },
      }),
      running('n2', {
        serviceId: 'id-b',
        spec: { resources: { reservations: { nanoCpus: 2e9 } } },
      }),
      running('n2', { serviceId: 'id-b', slot: 2 }),
      ...pending(1),
    ],
    goTo: ['n2'],
  },
  {
    name: 'the scarcer resource counts',
    nodes: nodes({}, {}),
    tasks: [
      running('n1', {
        serviceId: 'id-a',
        spec: { resources: { reservations: { memoryBytes: 7 * 1024 * MIB } } },
      }),
      running('n2', {
        serviceId: 'id-b',
        spec: { resources: { reservations: { nanoCpus: 2e9 } } },
      }),
      ...pending(1),
    ],
    goTo: ['n2'],
  },
  {
    name: 'binpack fills the fullest node first',
    nodes: nodes({}, {}, {}),
    tasks: [
      running('n2', {
        serviceId: 'id-a',
        spec: { resources: { reservations: { nanoCpus: 1e9 } } },
      }),
      ...pending(4, {
        spec: {
          resources: { reservations: { nanoCpus: 1e9 } },
          placement: { strategy: PlacementStrategy.BINPACK },
        },
      }),
    ],
    goTo: ['n1', 'n2', 'n2', 'n2'],
  },
  {
    name: 'binpack without reservations stops at a node that looks full',
    nodes: nodes({}, {}),
    tasks: pending(45, placed({ strategy: PlacementStrategy.BINPACK })),
    goTo: [...Array<string>(40).fill('n1'), ...Array<string>(5).fill('n2')],
  },
  {
    name: 'of nodes about equally loaded, one that has the image',
    nodes: nodes({}, {}, { description: { images: ['web:1'] } }),
    tasks: [running('n3', { serviceId: 'id-a' }), ...pending(1)],
    goTo: ['n3'],
  },
  {
    name: 'whatever the spec calls the image',
    nodes: nodes({}, {}, { description: { images: ['web:latest'] } }),
    tasks: [
      running('n3', { serviceId: 'id-a' }),
      ...pending(1, { spec: { containerSpec: { image: 'docker.io/library/web' } } }),
    ],
    goTo: ['n3'],
  },
  {
    name: 'but not one that is loaded much more',
    nodes: nodes({}, { description: { images: ['web:1'] } }),
    tasks: [
      running('n2', {
        serviceId: 'id-a',
        spec: { resources: { reservations: { nanoCpus: 1e9 } } },
      }),
      ...pending(1),
    ],
    goTo: ['n1'],
  },
  {
    name: 'images do not gather a service on one node',
    nodes: nodes({}, { description: { images: ['web:1'] } }),
    tasks: pending(6),
    goTo: ['n1', 'n1', 'n1', 'n2', 'n2', 'n2'],
  },
  {
    name: 'a kind of node that is wished for comes before an even spread',
    nodes: nodes(labelled({ disk: 'hdd' }), labelled({ disk: 'ssd' })),
    tasks: pending(
      2,
      placed({ affinities: [{ expression: 'node.labels.disk==ssd', weight: 10 }] }),
    ),
    goTo: ['n2', 'n2'],
  },
  {
    name: 'the weightier wish wins',
    nodes: nodes(labelled({ disk: 'ssd' }), labelled({ zone: 'a' })),
    tasks: pending(
      1,
      placed({
        affinities: [
          { expression: 'node.labels.disk==ssd', weight: 10 },
          { expression: 'node.labels.zone==a', weight: 11 },
        ],
      }),
    ),
    goTo: ['n2'],
  },
  {
    name: 'a kind of node without a weight is a condition',
    nodes: nodes(labelled({ disk: 'hdd' })),
    tasks: pending(1, placed({ affinities: [{ expression: 'node.labels.disk in (ssd, nvme)' }] })),
    goTo: [''],
    message: 'no suitable node: 1 of 1 node does not satisfy node.labels.disk in (ssd, nvme)',
  },
];

const NODE_FACTS: readonly Case[] = [
  {
    name: 'generic resources are counted',
    nodes: nodes(
      {},
      { description: { resources: { nanoCpus: 4e9, generic: [{ kind: 'gpu', count: 3 }] } } },
    ),
    tasks: pending(2, {
      spec: { resources: { reservations: { generic: [{ kind: 'gpu', count: 2 }] } } },
    }),
    goTo: ['', 'n2'],
    message:
      'no suitable node: 2 of 2 nodes lack resources (needs 2 gpu; the largest free is n2 with 1)',
  },
  {
    name: 'tasks with an address on an overlay need a link for its tunnels',
    nodes: nodes(
      { description: { underlayMtuBytes: 0 } },
      { description: { dataPathAddress: 'fd00::1', underlayMtuBytes: 1500 } },
    ),
    tasks: pending(1, { networksAttachments: [{ networkId: 'net', addresses: ['10.0.0.2/24'] }] }),
    goTo: [''],
    message:
      'no suitable node: 2 of 2 nodes have no link for the tunnels of its networks (n1, n2: set ' +
      'dataPathAddr in agent.yaml to an IPv4 address of the host)',
  },
  {
    name: 'others do not',
    nodes: nodes({ description: { underlayMtuBytes: 0 } }),
    tasks: pending(1),
    goTo: ['n1'],
  },
];

const GLOBAL: readonly Case[] = [
  {
    name: 'a task that has its node is only told whether it has room there',
    nodes: nodes({}, {}),
    tasks: [
      ...pending(1, { slot: 0, nodeId: 'n1' }),
      running('n1', { serviceId: 'id-b', slot: 3 }),
    ],
    goTo: ['n1'],
  },
  {
    name: 'it waits for its own node where others would have room',
    nodes: nodes({ description: { resources: { nanoCpus: 1e9 } } }, {}),
    tasks: pending(1, {
      slot: 0,
      nodeId: 'n1',
      spec: { resources: { reservations: { nanoCpus: 2e9 } } },
    }),
    goTo: ['n1'],
    message:
      'no place on its node: n1 lacks resources (needs 2 CPUs; the largest free is n1 with 1)',
  },
  {
    name: 'it holds nothing before it is assigned',
    nodes: nodes({}),
    tasks: [
      ...pending(1, {
        slot: 0,
        nodeId: 'n1',
        serviceId: 'id-agent',
        createdAtMs: 2e12,
        spec: { resources: { reservations: { nanoCpus: 5e9 } } },
      }),
      ...pending(1, { spec: { resources: { reservations: { nanoCpus: 4e9 } } } }),
    ],
    goTo: ['n1', 'n1'],
    message:
      'no place on its node: n1 lacks resources (needs 5 CPUs; the largest free is n1 with 0)',
  },
];

describe('placement', () => {
  for (const [title, cases] of Object.entries({ TAINTS, SPREADS, RANKS, NODE_FACTS, GLOBAL })) {
    describe(title.toLowerCase().replace('_', ' '), () => {
      for (const c of cases) {
        it(c.name, () => {
          const result = schedule(c.nodes, c.tasks);
          assert.deepEqual(nodesOf(result), c.goTo);
          if (c.message !== undefined) assert.equal(messageOf(c.nodes, c.tasks), c.message);
          const waiting = result.filter((t) => t.status.state === TaskState.PENDING);
          assert.ok(c.goTo.includes('') || c.message !== undefined || waiting.length === 0);
        });
      }
    });
  }

  it('hands out named generic resources, each to one task', () => {
    const generic = [{ kind: 'gpu', names: ['u1', 'u2', 'u3'] }];
    const spec = { resources: { reservations: { generic: [{ kind: 'gpu', count: 1 }] } } };
    const [node] = nodes({ description: { resources: { generic } } });
    assert.ok(node);
    const holder = running('n1', {
      serviceId: 'id-a',
      spec,
      assignedGenericResources: [{ kind: 'gpu', names: ['u2'] }],
    });
    const given = schedule([node], [holder, ...pending(3, { spec })]).map((t) =>
      t.assignedGenericResources.map(({ kind, count, names }) => [kind, count, names]),
    );
    assert.deepEqual(given, [[['gpu', 0, ['u1']]], [['gpu', 0, ['u3']]], []]);
  });

  it('gives a number where the node has no names', () => {
    const generic = [{ kind: 'gpu', count: 4 }];
    const spec = { resources: { reservations: { generic: [{ kind: 'gpu', count: 3 }] } } };
    const [task] = schedule(
      nodes({ description: { resources: { generic } } }),
      pending(1, { spec }),
    );
    assert.deepEqual(task?.assignedGenericResources, [{ kind: 'gpu', count: 3, names: [] }]);
  });

  it('is held up by a spec that cannot be read for its own tasks alone', () => {
    const bad = placed({ affinities: [{ expression: 'nonsense' }] });
    const tasks = [...pending(1, { serviceId: 'id-bad', ...bad }), ...pending(1)];
    assert.deepEqual(nodesOf(schedule(nodes({}), tasks)), ['', 'n1']);
    assert.match(
      messageOf(nodes({}), tasks) ?? '',
      /^no suitable node: affinity "nonsense" is not/,
    );
    const there = running('n1', { serviceId: 'id-bad', slot: 2, ...bad });
    assert.deepEqual(nodesOf(schedule(nodes({}), [there, ...pending(1)])), ['n1']);
  });

  it('serves the higher priority, then who waits longer, where there is room for one', () => {
    const spec = (priority: number) => ({
      priority,
      resources: { reservations: { nanoCpus: 4e9 } },
    });
    const task = (name: string, priority: number, createdAtMs: number): Task =>
      aTask({
        serviceId: `id-${name}`,
        createdAtMs,
        spec: spec(priority),
        status: { state: TaskState.PENDING },
      });
    const winner = (...tasks: Task[]): string | undefined =>
      schedule(nodes({}), tasks).find((t) => t.nodeId !== '')?.serviceName;
    assert.equal(winner(task('a', 0, 1), task('b', 5, 2)), 'b');
    assert.equal(winner(task('a', 0, 2), task('b', 0, 1)), 'b');
  });
});
