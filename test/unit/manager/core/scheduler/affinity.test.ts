import assert from 'node:assert/strict';
import type { HatobaError } from '../../../../../common/errors.js';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { parseAffinity } from '../../../../../manager/core/scheduler/affinity.js';
import { TaskState, type Affinity } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aTask } from '../../../../support/builders.js';
import { labelled, messageOf, nodes, nodesOf, pending, running, schedule } from './placing.js';

const zones = (...names: string[]): Node[] => nodes(...names.map((zone) => labelled({ zone })));
const db = (nodeId: string, some: object = {}): Task =>
  running(nodeId, { serviceId: 'id-db', serviceLabels: { tier: 'data' }, ...some });
const drawn = (count: number, ...affinities: Partial<Affinity>[]): Task[] =>
  pending(count, { spec: { placement: { affinities } } });

interface Case {
  name: string;
  nodes: Node[];
  tasks: Task[];
  goTo: string[];
  message?: string;
}

const CASES: readonly Case[] = [
  {
    name: 'near to a service: on its node',
    nodes: nodes({}, {}, {}),
    tasks: [db('n2'), ...drawn(3, { expression: 'service==db' })],
    goTo: ['n2', 'n2', 'n2'],
  },
  {
    name: 'near to a service: in its zone',
    nodes: zones('a', 'a', 'b'),
    tasks: [db('n2'), ...drawn(2, { expression: 'service == db', topology: 'node.labels.zone' })],
    goTo: ['n1', 'n2'],
  },
  {
    name: 'by a label of the service',
    nodes: nodes({}, {}),
    tasks: [db('n2'), ...drawn(1, { expression: 'service.labels.tier==data' })],
    goTo: ['n2'],
  },
  {
    name: 'near to one that is being stopped is near to none',
    nodes: nodes({}),
    tasks: [
      db('n1', { desiredState: TaskState.SHUTDOWN }),
      ...drawn(1, { expression: 'service==db' }),
    ],
    goTo: [''],
    message:
      'no suitable node: 1 of 1 node has no task there that it is to be near to (service==db; there is none in the cluster)',
  },
  {
    name: 'near to itself: the first one anywhere, the others beside it',
    nodes: nodes({}, {}),
    tasks: drawn(3, { expression: 'service==web' }),
    goTo: ['n1', 'n1', 'n1'],
  },
  {
    name: 'near to itself: in one zone',
    nodes: zones('a', 'b', 'a', 'b'),
    tasks: [
      running('n2', { slot: 9 }),
      ...drawn(3, { expression: 'service==web', topology: 'node.labels.zone' }),
    ],
    goTo: ['n2', 'n4', 'n4'],
  },
  {
    name: 'apart from a service',
    nodes: nodes({}, {}),
    tasks: [db('n1'), ...drawn(2, { expression: 'service!=db' })],
    goTo: ['n2', 'n2'],
  },
  {
    name: 'apart from a service by zone, also while it is being stopped',
    nodes: zones('a', 'a', 'b'),
    tasks: [
      db('n1', { desiredState: TaskState.SHUTDOWN }),
      ...drawn(2, { expression: 'service!=db', topology: 'node.labels.zone' }),
    ],
    goTo: ['n3', 'n3'],
  },
  {
    name: 'what is to be apart from others keeps them off too',
    nodes: nodes({}, {}),
    tasks: [
      db('n1', { spec: { placement: { affinities: [{ expression: 'service!=web' }] } } }),
      ...pending(2),
    ],
    goTo: ['n2', 'n2'],
  },
  {
    name: 'and says so',
    nodes: nodes({}),
    tasks: [
      db('n1', { spec: { placement: { affinities: [{ expression: 'service!=web' }] } } }),
      ...pending(1),
    ],
    goTo: [''],
    message:
      'no suitable node: 1 of 1 node has tasks there that are to be apart from it (their service!=web)',
  },
  {
    name: 'apart from itself: one per node',
    nodes: nodes({}, {}),
    tasks: drawn(3, { expression: 'service!=web' }),
    goTo: ['', 'n1', 'n2'],
    message:
      'no suitable node: 2 of 2 nodes have tasks there that it is to be apart from (service!=web)',
  },
  {
    name: 'apart from itself, but not from the one that it replaces',
    nodes: nodes({}, {}),
    tasks: [
      running('n1', { spec: { placement: { affinities: [{ expression: 'service!=web' }] } } }),
      running('n2', {
        slot: 2,
        spec: { placement: { affinities: [{ expression: 'service!=web' }] } },
      }),
      ...drawn(1, { expression: 'service!=web' }).map((t) => ({ ...t, id: 'x', generation: 2 })),
    ],
    goTo: ['n1'],
  },
  {
    name: 'a wish to be near comes before an even spread',
    nodes: nodes({}, {}),
    tasks: [db('n2'), ...drawn(2, { expression: 'service==db', weight: 1 })],
    goTo: ['n2', 'n2'],
  },
  {
    name: 'a wish to be apart yields where there is nothing else',
    nodes: nodes({}, {}),
    tasks: [db('n1'), ...drawn(1, { expression: 'service!=db', weight: 1 })],
    goTo: ['n2'],
  },
  {
    name: 'a wish to be apart from itself by zone counts the zone',
    nodes: zones('a', 'a', 'b', ''),
    tasks: drawn(3, { expression: 'service!=web', topology: 'node.labels.zone', weight: 1 }),
    goTo: ['n1', 'n3', 'n4'],
  },
];

describe('affinity', () => {
  for (const c of CASES) {
    it(c.name, () => {
      const result = schedule(c.nodes, c.tasks);
      assert.deepEqual(nodesOf(result), c.goTo);
      if (c.message !== undefined) assert.equal(messageOf(c.nodes, c.tasks), c.message);
    });
  }

  it('is obeyed by a task that has its node given', () => {
    const [task] = schedule(nodes({}), [
      db('n1'),
      aTask({
        slot: 0,
        nodeId: 'n1',
        spec: { placement: { affinities: [{ expression: 'service!=db' }] } },
        status: { state: TaskState.PENDING },
      }),
    ]);
    assert.equal(
      task?.status.message,
      'no place on its node: n1 has tasks there that it is to be apart from (service!=db)',
    );
  });

  const refused: readonly [string, string, RegExp][] = [
    ['db', '', /is not of the form service==NAME or service!=NAME/],
    ['service in (a, b)', '', /compares with "in": services are named with == or !=/],
    ['service.labels.==x', '', /has the unknown key "service.labels." \(known are service, /],
    ['pod==x', '', /has the unknown key "pod"/],
    ['service==db', 'zone', /has the unknown topology "zone" \(known are node.id, /],
    ['node.labels.disk==ssd', 'node.labels.zone', /is about nodes, which needs no topology/],
  ];
  for (const [expression, topology, why] of refused) {
    it(`refuses "${expression}"${topology && ` by "${topology}"`}`, () => {
      assert.throws(
        () => parseAffinity({ expression, topology, weight: 0 }),
        (error: HatobaError) => {
          assert.ok(error.message.startsWith(`affinity "${expression}" `));
          assert.match(error.message, why);
          return error.kind === 'invalid-argument';
        },
      );
    });
  }
});
