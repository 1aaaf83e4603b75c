import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../common/model/labels.js';
import type { Task } from '../../../../common/model/objects.js';
import {
  AssignmentModel,
  itemsOf,
  type NodeAssignments,
} from '../../../../manager/core/network-state.js';
import {
  NodeState,
  TaskState,
  type Task as TaskMessage,
} from '../../../../proto/gen/hatoba/v1/types.js';
import {
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
  type SnapshotContent,
  type Some,
} from '../../../support/builders.js';

const backend = aNetwork({
  vni: 4096,
  ipam: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', ipRange: '' }],
});
const ingress = aNetwork({
  spec: { name: 'ingress', ingress: true },
  vni: 4097,
  ipam: [{ subnet: '10.8.0.0/24', gateway: '10.8.0.1', ipRange: '' }],
});
const nodes = [1, 2, 3].map((i) =>
  aNode({ id: `n${i}`, description: { dataPathAddress: `192.0.2.${i}` } }),
);
const service = aService({
  spec: {
    name: 'shop_web',
    labels: { [STACK_LABEL]: 'shop' },
    taskTemplate: { networks: [{ target: backend.id, aliases: ['www'] }] },
    endpointSpec: { ports: [{ targetPort: 80, publishedPort: 8080 }] },
  },
  endpoint: {
    ports: [{ targetPort: 80, publishedPort: 8080 }],
    virtualIps: [
      { networkId: backend.id, addr: '10.9.0.2/24' },
      { networkId: ingress.id, addr: '10.8.0.2/24' },
    ],
  },
});

function task(slot: number, nodeId: string, some: Some<TaskMessage> = {}): Task {
  return aTask({
    serviceId: service.id,
    slot,
    nodeId,
    networksAttachments: [
      { networkId: backend.id, networkName: 'backend', addresses: [`10.9.0.${10 + slot}/24`] },
      { networkId: ingress.id, networkName: 'ingress', addresses: [`10.8.0.${10 + slot}/24`] },
    ],
    ...some,
    status: { state: TaskState.RUNNING, ...some.status },
  });
}

const base: SnapshotContent = { nodes, networks: [backend, ingress], services: [service] };
const wanted = (content: SnapshotContent, nodeId: string): NodeAssignments =>
  new AssignmentModel().stateOf(snapshotOf({ ...base, ...content }), nodeId);
const diffAssignments = (before: NodeAssignments | undefined, after: NodeAssignments) =>
  new AssignmentModel().diff(before, after);
const state = (content: SnapshotContent, nodeId: string) => itemsOf(wanted(content, nodeId));

describe('what a node must know', () => {
  it('is its tasks, its networks with all on them, and the peers', () => {
    const items = state({ tasks: [task(1, 'n1'), task(2, 'n2')] }, 'n1');
    assert.deepEqual([...items.keys()].sort(), [
      'endpoint net-backend t-shop_web-1-1',
      'endpoint net-backend t-shop_web-2-1',
      'endpoint net-ingress t-shop_web-1-1',
      'endpoint net-ingress t-shop_web-2-1',
      'network net-backend',
      'network net-ingress',
      'peer n1',
      'peer n2',
      'peer n3',
      'service net-backend id-shop_web',
      'service net-ingress id-shop_web',
      'task t-shop_web-1-1',
    ]);
    assert.deepEqual(items.get('service net-backend id-shop_web')?.value, {
      networkId: 'net-backend',
      serviceId: 'id-shop_web',
      name: 'shop_web',
      aliases: ['www', 'web'],
      mode: 'ENDPOINT_MODE_VIP',
      virtualIp: '10.9.0.2',
      ports: [],
      sessionAffinity: 'SESSION_AFFINITY_NONE',
    });
    assert.deepEqual(items.get('endpoint net-backend t-shop_web-2-1')?.value, {
      networkId: 'net-backend',
      taskId: 't-shop_web-2-1',
      serviceId: 'id-shop_web',
      nodeId: 'n2',
      address: '10.9.0.12',
      slot: 2,
      aliases: [],
      name: 'shop_web.2.t-shop_web-2-1',
      ready: true,
    });
  });

  it('has the ingress network, its services and their ports also without a task', () => {
    const items = state({ tasks: [task(1, 'n1')] }, 'n3');
    assert.deepEqual([...items.keys()].sort(), [
      'endpoint net-ingress t-shop_web-1-1',
      'network net-ingress',
      'peer n1',
      'peer n2',
      'peer n3',
      'service net-ingress id-shop_web',
    ]);
    const value = items.get('service net-ingress id-shop_web')?.value;
    assert.ok(value !== undefined && 'ports' in value);
    assert.deepEqual(value.ports, service.endpoint.ports);
  });

  const ready: readonly [string, Some<TaskMessage>, boolean | undefined][] = [
    ['pending', { nodeId: '', status: { state: TaskState.PENDING } }, undefined],
    ['assigned', { status: { state: TaskState.ASSIGNED } }, false],
    ['starting', { status: { state: TaskState.STARTING } }, false],
    ['running', {}, true],
    ['running, to be stopped', { desiredState: TaskState.SHUTDOWN }, false],
    ['ended', { status: { state: TaskState.FAILED } }, undefined],
  ];
  for (const [name, some, expected] of ready) {
    it(`a task that is ${name} has an endpoint: ${expected ?? 'none'}`, () => {
      const items = state({ tasks: [task(1, 'n2', some)] }, 'n1');
      const value = items.get('endpoint net-ingress t-shop_web-1-1')?.value;
      assert.equal(value !== undefined && 'ready' in value ? value.ready : undefined, expected);
    });
  }

  it('a task on a node that is down is not ready', () => {
    const down = nodes.map((n) => ({ ...n, status: { ...n.status, state: NodeState.DOWN } }));
    const value = state({ nodes: down, tasks: [task(1, 'n1')] }, 'n2').get(
      'endpoint net-ingress t-shop_web-1-1',
    )?.value;
    assert.ok(value !== undefined && 'ready' in value && !value.ready);
  });
});

describe('differences of what a node must know', () => {
  it('begin with everything, tasks after their networks', () => {
    const changes = diffAssignments(undefined, wanted({ tasks: [task(1, 'n1')] }, 'n1'));
    const kinds = changes.map((c) => c.item?.$case);
    assert.deepEqual([...new Set(kinds)], ['peer', 'network', 'service', 'endpoint', 'task']);
    assert.ok(changes.every((c) => c.action === 'ASSIGNMENT_ACTION_UPDATE'));
  });

  it('leave out what the node itself reported', () => {
    const before = wanted({ tasks: [task(1, 'n1')] }, 'n1');
    const status = { state: TaskState.RUNNING, message: 'healthy', timestampMs: T0 + 5 };
    const after = wanted(
      { tasks: [task(1, 'n1', { status, version: 9, updatedAtMs: T0 + 5 })] },
      'n1',
    );
    assert.deepEqual(diffAssignments(before, after), []);
  });

  it('tell a new desired state, and endpoints that come and go', () => {
    const before = wanted({ tasks: [task(1, 'n1'), task(2, 'n2')] }, 'n1');
    const stopping = task(1, 'n1', { desiredState: TaskState.SHUTDOWN });
    const after = wanted({ tasks: [stopping, task(3, 'n3')] }, 'n1');
    const changes = diffAssignments(before, after).map(({ action, item }) => {
      const { $case, value } = item ?? { $case: 'none', value: {} };
      return `${action.slice(18)} ${$case} ${'taskId' in value ? value.taskId : ''}`;
    });
    assert.deepEqual(changes, [
      'REMOVE endpoint t-shop_web-2-1',
      'REMOVE endpoint t-shop_web-2-1',
      'UPDATE endpoint t-shop_web-1-1',
      'UPDATE endpoint t-shop_web-3-1',
      'UPDATE endpoint t-shop_web-1-1',
      'UPDATE endpoint t-shop_web-3-1',
      'UPDATE task ',
    ]);
  });

  it('remove a network with its last task', () => {
    const before = wanted({ tasks: [task(1, 'n1')] }, 'n1');
    const after = wanted({ tasks: [] }, 'n1');
    const removed = diffAssignments(before, after).filter((c) => c.item?.$case === 'network');
    assert.deepEqual(
      removed.map((c) => c.action),
      ['ASSIGNMENT_ACTION_REMOVE'],
    );
  });

  it('keep the same objects from one revision to the next', () => {
    const model = new AssignmentModel();
    const tasks = [task(1, 'n1'), task(2, 'n2')];
    const before = model.stateOf(snapshotOf({ ...base, tasks }), 'n1');
    const more = [...tasks, task(3, 'n3', { networksAttachments: [{ networkId: ingress.id }] })];
    const after = model.stateOf(snapshotOf({ ...base, tasks: more }), 'n1');
    assert.equal(after.shared.get(backend.id), before.shared.get(backend.id));
    assert.equal(after.shared.get('peers'), before.shared.get('peers'));
    const starting = [...tasks, task(3, 'n3', { status: { state: TaskState.STARTING } })];
    const last = model.stateOf(snapshotOf({ ...base, tasks: starting }), 'n1');
    assert.notEqual(last.shared.get(backend.id), before.shared.get(backend.id));
    const key = 'endpoint net-backend t-shop_web-1-1';
    assert.equal(itemsOf(last).get(key), itemsOf(before).get(key));
    assert.deepEqual(
      model.diff(before, last).map((c) => c.item?.$case),
      ['endpoint', 'endpoint'],
    );
  });
});
