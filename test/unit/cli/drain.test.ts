import assert from 'node:assert/strict';
import { judgeDrain, type DrainState } from '../../../cli/drain.js';
import {
  NodeAvailability,
  NodeState,
  TaskState,
  type Node as NodeMessage,
} from '../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, type Some } from '../../support/builders.js';

function node(some: Some<NodeMessage> = {}): ReturnType<typeof aNode> {
  const spec = { availability: NodeAvailability.DRAIN, ...some.spec };
  return aNode({ id: 'n1', ...some, spec });
}

function tasks(...states: TaskState[]): ReturnType<typeof aTask>[] {
  return states.map((state, i) => aTask({ slot: i + 1, nodeId: 'n1', status: { state } }));
}

const { RUNNING, ASSIGNED, PENDING, SHUTDOWN, FAILED } = TaskState;

describe('a drained node', () => {
  const cases: [string, ReturnType<typeof aNode>, TaskState[], DrainState['verdict'], string][] = [
    ['without tasks', node(), [], 'done', 'has no tasks'],
    ['whose tasks have ended', node(), [SHUTDOWN, FAILED, PENDING], 'done', 'has no tasks'],
    ['with tasks', node(), [RUNNING, ASSIGNED], 'waiting', '2 tasks left: web.1, web.2'],
    ['with one task', node(), [SHUTDOWN, RUNNING], 'waiting', '1 task left: web.2'],
    [
      'with many tasks',
      node(),
      Array.from({ length: 6 }, () => RUNNING),
      'waiting',
      '6 tasks left: web.1, web.2, web.3, web.4, …',
    ],
    [
      'whose agent is away',
      node({ status: { state: NodeState.DISCONNECTED } }),
      [RUNNING],
      'waiting',
      '1 task left: web.1; the node is disconnected, so they can only end when it is back',
    ],
    [
      'that is down',
      node({ status: { state: NodeState.DOWN } }),
      [RUNNING],
      'done',
      'is down: whether its containers still run is not known',
    ],
    [
      'that is drained no more',
      node({ spec: { availability: NodeAvailability.ACTIVE } }),
      [RUNNING],
      'hopeless',
      'was made active again meanwhile',
    ],
  ];
  for (const [name, of, states, verdict, line] of cases) {
    it(`${name}: ${verdict}`, () => {
      const found = judgeDrain(of, tasks(...states));
      assert.deepEqual([found.name, found.verdict, found.line], ['n1', verdict, line]);
    });
  }
});
