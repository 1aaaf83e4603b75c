import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { pickMove, type Move } from '../../../../../manager/core/scheduler/imbalance.js';
import {
  NodeState,
  PlacementStrategy,
  TaintEffect,
  TaskState,
  type DeepPartial,
  type TaskSpec,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, snapshotOf, T0 } from '../../../../support/builders.js';
import { labelled, nodes, running } from './placing.js';

function moveOf(all: readonly Node[], tasks: readonly Task[]): Move | undefined {
  const taskTemplate = tasks[0]?.spec ?? {};
  const service = aService({ spec: { taskTemplate } });
  return pickMove(snapshotOf({ nodes: all, tasks, services: [service] }), service, T0);
}

/** One task of the service per name of a node, the later ones younger. */
function on(nodeIds: readonly string[], spec: DeepPartial<TaskSpec> = {}): Task[] {
  return nodeIds.map((nodeId, i) => running(nodeId, { slot: i + 1, spec, createdAtMs: T0 + i }));
}

const zones = (...names: string[]): Node[] => nodes(...names.map((zone) => labelled({ zone })));
const byZone = { placement: { preferences: [{ spreadDescriptor: 'node.labels.zone' }] } };

describe('a move that evens a service out', () => {
  const cases: readonly {
    name: string;
    nodes: Node[];
    tasks: Task[];
    /** Slot of the task, and where to. */
    move?: [number, string];
  }[] = [
    {
      name: 'is of the youngest task of the fullest node, to a node that joined',
      nodes: nodes({}, {}, {}),
      tasks: on(['n1', 'n1', 'n1', 'n2', 'n2']),
      move: [3, 'n3'],
    },
    {
      name: 'is none where counts differ by one',
      nodes: nodes({}, {}),
      tasks: on(['n1', 'n1', 'n2']),
    },
    {
      name: 'is none to a node that does not have the room',
      nodes: nodes({}, { description: { resources: { nanoCpus: 1e9 } } }),
      tasks: on(['n1', 'n1'], { resources: { reservations: { nanoCpus: 2e9 } } }),
    },
    {
      name: 'is none to a node that is not eligible',
      nodes: nodes({}, { status: { state: NodeState.DOWN } }, { spec: { labels: { a: 'b' } } }),
      tasks: on(['n1', 'n1', 'n1'], { placement: { constraints: ['node.labels.a!=b'] } }),
    },
    {
      name: 'is none to a node that is to be shunned',
      nodes: nodes(
        {},
        { spec: { taints: [{ key: 'old', effect: TaintEffect.PREFER_NO_SCHEDULE }] } },
      ),
      tasks: on(['n1', 'n1', 'n1']),
    },
    {
      name: 'is none where tasks are to fill nodes up',
      nodes: nodes({}, {}),
      tasks: on(['n1', 'n1', 'n1'], { placement: { strategy: PlacementStrategy.BINPACK } }),
    },
    {
      name: 'goes by zones first, also from a node with one task',
      nodes: zones('a', 'a', 'a', 'b'),
      tasks: on(['n1', 'n2', 'n3'], byZone),
      move: [1, 'n4'],
    },
    {
      name: 'leaves zones that differ by one',
      nodes: zones('a', 'a', 'b'),
      tasks: on(['n1', 'n2', 'n3'], byZone),
    },
    {
      name: 'evens out within a zone where the zones are even',
      nodes: zones('a', 'a', 'b'),
      tasks: on(['n1', 'n1', 'n3', 'n3'], byZone),
      move: [2, 'n2'],
    },
    {
      name: 'counts a task that is on its way to its node',
      nodes: nodes({}, {}),
      tasks: [
        ...on(['n1', 'n1', 'n1']),
        running('n2', { slot: 4, status: { state: TaskState.PREPARING } }),
        running('n2', { slot: 5, status: { state: TaskState.ASSIGNED } }),
      ],
    },
  ];
  for (const c of cases) {
    it(c.name, () => {
      const move = moveOf(c.nodes, c.tasks);
      assert.deepEqual(move && [move.task.slot, move.nodeId], c.move);
    });
  }

  it('is one of few: moves end, in a spread that cannot be bettered', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }),
        fc.array(fc.nat(2), { minLength: 6, maxLength: 6 }),
        fc.boolean(),
        (places, zoneOf, spreadsByZone) => {
          const all = zoneOf.map((z, i) =>
            aNode({ id: `n${i}`, spec: { labels: { zone: `z${z}` } } }),
          );
          let tasks = on(
            places.map((n) => `n${n}`),
            spreadsByZone ? byZone : {},
          );
          let moves = 0;
          for (let move = moveOf(all, tasks); move !== undefined; move = moveOf(all, tasks)) {
            const { task, nodeId } = move;
            tasks = tasks.map((t) => (t.id === task.id ? { ...t, nodeId } : t));
            assert.ok(++moves <= places.length, 'moves go on and on');
          }
          if (spreadsByZone) return;
          const counts = all.map((n) => tasks.filter((t) => t.nodeId === n.id).length);
          assert.ok(Math.max(...counts) - Math.min(...counts) <= 1);
        },
      ),
      { numRuns: 100 },
    );
  });
});
