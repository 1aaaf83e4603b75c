import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../common/model/labels.js';
import type { Task } from '../../../../common/model/objects.js';
import { ORPHAN_AFTER_MS, planReap } from '../../../../manager/core/plan-reap.js';
import {
  Attachment,
  NodeState,
  TaskState,
  UpdateState,
  type Task as TaskMessage,
} from '../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aNode,
  aService,
  aStack,
  aTask,
  snapshotOf,
  T0,
  type SnapshotContent,
  type Some,
} from '../../../support/builders.js';

function reap(content: SnapshotContent, nowMs = T0): string[] {
  const snapshot = snapshotOf({
    cluster: aCluster({ spec: { taskHistoryLimit: 2 } }),
    nodes: [aNode()],
    ...content,
  });
  return planReap(snapshot, nowMs)
    .groups.flat()
    .map((c) => `${c.action} ${c.object.id}`)
    .sort();
}

function task(state: TaskState, desiredState: TaskState, some: Some<TaskMessage> = {}): Task {
  return aTask({ nodeId: 'n1', desiredState, ...some, status: { state } });
}

const down = aNode({ status: { state: NodeState.DOWN, stateChangedAtMs: T0 } });
const attachment = Attachment.fromPartial({
  ...{ id: 'a1', version: 1, nodeId: 'n1', containerId: 'c1', networkId: 'net' },
  address: '10.9.0.2/24',
});

describe('reaper', () => {
  const services = [aService()];
  const { REMOVE, SHUTDOWN, RUNNING, PENDING, FAILED } = TaskState;
  const cases: readonly [string, SnapshotContent, string[]][] = [
    ['keeps what runs', { tasks: [task(RUNNING, RUNNING)] }, []],
    ['waits for what is to be removed', { tasks: [task(RUNNING, REMOVE)] }, []],
    ['removes it when it has ended', { tasks: [task(SHUTDOWN, REMOVE)] }, ['remove t-web-1-1']],
    [
      'or was never assigned',
      { tasks: [task(PENDING, REMOVE, { nodeId: '' })] },
      ['remove t-web-1-1'],
    ],
    [
      'or its node is down',
      { tasks: [task(RUNNING, REMOVE)], nodes: [down] },
      ['remove t-web-1-1'],
    ],
    [
      'keeps replaced tasks of a node that is down',
      { tasks: [task(RUNNING, SHUTDOWN)], nodes: [down] },
      [],
    ],
    [
      'orphans tasks of a node that is gone',
      { tasks: [task(RUNNING, SHUTDOWN)], nodes: [] },
      ['update t-web-1-1'],
    ],
    ['keeps the newest task of a slot', { tasks: [task(FAILED, SHUTDOWN)] }, []],
    [
      'removes tasks without a service',
      { tasks: [task(FAILED, RUNNING)], services: [] },
      ['remove t-web-1-1'],
    ],
    [
      'removes what containers of a removed node had on networks',
      { attachments: [attachment], nodes: [] },
      ['remove a1'],
    ],
    ['keeps it while the node is only down', { attachments: [attachment], nodes: [down] }, []],
    [
      'keeps a network for the containers on it',
      {
        attachments: [attachment],
        networks: [aNetwork({ id: 'net', pendingDelete: true })],
      },
      [],
    ],
    ['stops them first', { tasks: [task(RUNNING, RUNNING)], services: [] }, ['update t-web-1-1']],
  ];
  for (const [name, content, expected] of cases) {
    it(name, () => {
      assert.deepEqual(reap({ services, ...content }), expected);
    });
  }

  it('says why it stops tasks without a service', () => {
    const plan = planReap(snapshotOf({ tasks: [task(RUNNING, RUNNING)], nodes: [aNode()] }), T0);
    const [change] = plan.groups.flat();
    assert.ok(change?.kind === 'task');
    assert.equal(change.object.desiredReason, 'its service was removed');
  });

  it('orphans tasks of a node that is down for a day, not before', () => {
    const content = { services, tasks: [task(RUNNING, SHUTDOWN)], nodes: [down] };
    assert.deepEqual(reap(content, T0 + ORPHAN_AFTER_MS - 1), []);
    assert.deepEqual(reap(content, T0 + ORPHAN_AFTER_MS), ['update t-web-1-1']);
    const plan = planReap(snapshotOf(content), T0 + 1000);
    assert.equal(plan.requeueAfterMs, ORPHAN_AFTER_MS - 1000);
  });

  const history = [1, 2, 3, 4].map((generation) => task(FAILED, SHUTDOWN, { generation }));
  const slot = [...history, task(RUNNING, RUNNING, { generation: 5 })];
  it('keeps as many dead tasks as the history limit', () => {
    assert.deepEqual(reap({ services, tasks: slot }), ['remove t-web-1-1', 'remove t-web-1-2']);
  });

  it('keeps what an update judges', () => {
    const cluster = aCluster({ spec: { taskHistoryLimit: 0 } });
    const updating = aService({ updateStatus: { state: UpdateState.UPDATING } });
    assert.equal(reap({ cluster, services, tasks: slot }).length, 4);
    assert.equal(reap({ cluster, services: [updating], tasks: slot }).length, 3);
  });

  it('removes superseded tasks that never had a node', () => {
    const never = task(PENDING, SHUTDOWN, { nodeId: '' });
    const next = task(RUNNING, RUNNING, { generation: 2 });
    assert.deepEqual(reap({ services, tasks: [never, next] }), ['remove t-web-1-1']);
  });

  it('keeps the history of each node of a global service, without what only waited for it', () => {
    const on = (nodeId: string, generation: number, some: Some<TaskMessage>): Task =>
      task(FAILED, SHUTDOWN, {
        id: `${nodeId}-${generation}`,
        slot: 0,
        nodeId,
        generation,
        ...some,
      });
    const tasks = ['n1', 'n2'].flatMap((nodeId) => [
      ...[1, 2, 3].map((generation) => on(nodeId, generation, {})),
      aTask({ ...on(nodeId, 4, {}), status: { state: PENDING } }),
      aTask({ ...on(nodeId, 5, {}), desiredState: RUNNING, status: { state: RUNNING } }),
    ]);
    const nodes = ['n1', 'n2'].map((id) => aNode({ id }));
    const removed = ['remove n1-1', 'remove n1-4', 'remove n2-1', 'remove n2-4'];
    assert.deepEqual(reap({ services, tasks, nodes }), removed);
  });

  it('removes services, networks and stacks one after the other', () => {
    const labels = { [STACK_LABEL]: 'app' };
    const network = aNetwork({ pendingDelete: true, spec: { labels } });
    const networks = [{ target: network.id }];
    const service = aService({ pendingDelete: true, spec: { labels, taskTemplate: { networks } } });
    const stack = aStack({ pendingDelete: true });
    const last = task(SHUTDOWN, REMOVE);
    assert.deepEqual(
      reap({ services: [service], networks: [network], stacks: [stack], tasks: [last] }),
      ['remove t-web-1-1'],
    );
    assert.deepEqual(reap({ services: [service], networks: [network], stacks: [stack] }), [
      'remove id-web',
    ]);
    assert.deepEqual(reap({ networks: [network], stacks: [stack] }), ['remove net-backend']);
    assert.deepEqual(reap({ stacks: [stack] }), ['remove stack-app']);
  });
});
