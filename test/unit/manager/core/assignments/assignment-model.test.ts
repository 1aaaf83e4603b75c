import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../../common/model/labels.js';
import type { Attachment, Task } from '../../../../../common/model/objects.js';
import {
  AssignmentModel,
  itemsOf,
  type NodeAssignments,
} from '../../../../../manager/core/assignments/assignment-model.js';
import {
  NodeState,
  TaskState,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
  type SnapshotContent,
  type Some,
} from '../../../../support/builders.js';

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
  it('has for peers the nodes that tunnels can reach, by IPv4', () => {
    const other = aNode({ id: 'n4', description: { dataPathAddress: 'fd00::4' } });
    const items = state({ nodes: [...nodes, other], tasks: [task(1, 'n1')] }, 'n1');
    const peers = [...items.keys()].filter((key) => key.startsWith('peer '));
    assert.deepEqual(peers.sort(), ['peer n1', 'peer n2', 'peer n3']);
  });

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
      aliases: ['t-shop_web-2'],
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
    ['running, unhealthy', { status: { state: TaskState.RUNNING, err: 'unhealthy' } }, false],
    ['ended', { status: { state: TaskState.FAILED } }, undefined],
  ];
  for (const [name, some, expected] of ready) {
    it(`a task that is ${name} has an endpoint: ${expected ?? 'none'}`, () => {
      const items = state({ tasks: [task(1, 'n2', some)] }, 'n1');
      const value = items.get('endpoint net-ingress t-shop_web-1-1')?.value;
      assert.equal(value !== undefined && 'ready' in value ? value.ready : undefined, expected);
    });
  }

  const away = [
    ['is down', { state: NodeState.DOWN }],
    ['nobody can reach', { state: NodeState.DISCONNECTED, unreachable: true }],
  ] as const;
  for (const [name, status] of away)
    it(`a task on a node that ${name} has no endpoint`, () => {
      const lost = nodes.map((n) => ({ ...n, status: { ...n.status, ...status } }));
      const items = state({ nodes: lost, tasks: [task(1, 'n1')] }, 'n2');
      assert.ok(!items.has('endpoint net-ingress t-shop_web-1-1'));
      assert.ok(items.has('network net-ingress'));
    });
});

describe('what a node must know of networks', () => {
  const networkOf = (content: SnapshotContent, id: string) => {
    const value = state({ tasks: [task(1, 'n1')], ...content }, 'n1').get(`network ${id}`)?.value;
    assert.ok(value !== undefined && 'mtuBytes' in value);
    return value;
  };
  const withMtu = (...mtus: number[]) =>
    nodes.map((n, i) => ({
      ...n,
      description: { ...n.description, underlayMtuBytes: mtus[i] ?? 0 },
    }));

  const mtus: readonly [string, readonly number[], number, number][] = [
    ['the smallest underlay less the tunnel', [9000, 1400, 1500], 0, 1350],
    ['of the nodes that have told', [0, 9000, 0], 0, 8950],
    ['left to the node while none has', [0, 0, 0], 0, 0],
    ['as asked for', [1400, 1400, 1400], 1200, 1200],
  ];
  for (const [what, underlays, asked, expected] of mtus) {
    it(`an overlay's MTU is ${what}`, () => {
      const asking = { ...backend, spec: { ...backend.spec, mtuBytes: asked } };
      const content = { nodes: withMtu(...underlays), networks: [asking, ingress] };
      assert.equal(networkOf(content, backend.id).mtuBytes, expected);
    });
  }

  it('the port of the tunnels is that of the cluster', () => {
    const cluster = aCluster({ spec: { dataPathPort: 4790 } });
    assert.equal(networkOf({ cluster }, backend.id).dataPathPort, 4790);
  });

  it('the network of the host has no subnet and goes to nodes with a task on it', () => {
    const host = aNetwork({ spec: { name: 'host', driver: 'host' } });
    const onHost = task(1, 'n1', {
      networksAttachments: [{ networkId: host.id, networkName: 'host' }],
    });
    const content = { networks: [host, ingress], tasks: [onHost] };
    const value = networkOf(content, host.id);
    assert.deepEqual(
      [value.driver, value.subnets, value.mtuBytes, value.dataPathPort],
      ['host', [], 0, 0],
    );
    assert.equal(state(content, 'n2').has(`network ${host.id}`), false);
    assert.equal(state(content, 'n1').has(`endpoint ${host.id} ${onHost.id}`), false);
  });

  it('how long a task drains is what its service says, 5 s where it does not', () => {
    const drainOf = (content: SnapshotContent) => {
      const value = state({ tasks: [task(1, 'n1')], ...content }, 'n1').get(
        'task t-shop_web-1-1',
      )?.value;
      return value !== undefined && 'drainMs' in value ? value.drainMs : undefined;
    };
    const patient = {
      ...service,
      spec: { ...service.spec, endpointSpec: { ...service.spec.endpointSpec, drainMs: 0 } },
    };
    assert.equal(drainOf({}), 5000);
    assert.equal(drainOf({ services: [patient] }), 0);
    assert.equal(drainOf({ services: [] }), 5000);
  });

  it('a task is told of again when it may drain for longer', () => {
    const before = wanted({ tasks: [task(1, 'n1')] }, 'n1');
    const longer = {
      ...service,
      spec: { ...service.spec, endpointSpec: { ...service.spec.endpointSpec, drainMs: 60_000 } },
    };
    const after = wanted({ tasks: [task(1, 'n1')], services: [longer] }, 'n1');
    assert.deepEqual(
      diffAssignments(before, after).map((c) => c.item?.$case),
      ['task'],
    );
  });

  it('a desired state that is kept back is shown as it was, and told of once it is not', () => {
    const model = new AssignmentModel();
    const view = snapshotOf({
      ...base,
      tasks: [task(1, 'n1', { desiredState: TaskState.SHUTDOWN })],
    });
    const before = model.stateOf(view, 'n1', () => TaskState.RUNNING);
    const shown = itemsOf(before).get('task t-shop_web-1-1')?.value;
    assert.ok(shown !== undefined && 'desiredState' in shown);
    assert.equal(shown.desiredState, TaskState.RUNNING);
    const same = model.stateOf(view, 'n1', () => TaskState.RUNNING);
    assert.equal(itemsOf(same).get('task t-shop_web-1-1')?.value, shown);
    const changes = model.diff(before, model.stateOf(view, 'n1'));
    assert.deepEqual(
      changes.map(({ item }) => (item?.$case === 'task' ? item.value.desiredState : '')),
      [TaskState.SHUTDOWN],
    );
  });
});

describe('networks that each node has for itself', () => {
  const local = aNetwork({
    spec: { name: 'local', driver: 'bridge' },
    ipam: [{ subnet: '10.7.0.0/24', gateway: '10.7.0.1', ipRange: '' }],
  });
  const web = aService({
    spec: { name: 'web', taskTemplate: { networks: [{ target: local.id }] } },
    endpoint: { virtualIps: [{ networkId: local.id, addr: '10.7.0.2/24' }] },
  });
  const on = (slot: number, nodeId: string): Task =>
    aTask({
      slot,
      nodeId,
      networksAttachments: [
        { networkId: local.id, networkName: 'local', addresses: [`10.7.0.${10 + slot}/24`] },
      ],
      status: { state: TaskState.RUNNING },
    });
  const content = { networks: [local], services: [web], tasks: [on(1, 'n1'), on(2, 'n2')] };
  const keys = (nodeId: string) =>
    [...state(content, nodeId).keys()].filter(
      (k) => !k.startsWith('peer') && !k.startsWith('task'),
    );

  it('tell a node of its own endpoints only', () => {
    assert.deepEqual(keys('n1'), [
      'network net-local',
      'service net-local id-web',
      'endpoint net-local t-web-1-1',
    ]);
    assert.deepEqual(keys('n2').at(-1), 'endpoint net-local t-web-2-1');
    assert.deepEqual(keys('n3'), []);
  });

  it('change for the node alone where something happens', () => {
    const model = new AssignmentModel();
    const of = (tasks: readonly Task[]) => {
      const view = snapshotOf({ ...base, ...content, tasks });
      return [model.stateOf(view, 'n1'), model.stateOf(view, 'n2')] as const;
    };
    const before = of([on(1, 'n1'), on(2, 'n2')]);
    const after = of([on(1, 'n1'), on(2, 'n2'), on(3, 'n2')]);
    assert.deepEqual(model.diff(before[0], after[0]), []);
    assert.deepEqual(
      model.diff(before[1], after[1]).map((c) => c.item?.$case),
      ['endpoint', 'task'],
    );
  });
});

describe('containers outside of services', () => {
  const attachment: Attachment = {
    ...{ id: 'a1', version: 1, createdAtMs: T0, updatedAtMs: T0, nodeId: 'n1' },
    ...{ containerId: 'c0ffee0123456789', containerName: 'shell', networkId: backend.id },
    ...{ address: '10.9.0.99/24', aliases: ['sh'], active: true, wantedAddress: '', problem: '' },
  };
  const endpointOf = (some: Partial<Attachment>, nodeId: string) =>
    state({ attachments: [{ ...attachment, ...some }], tasks: [task(1, 'n2')] }, nodeId).get(
      'endpoint net-backend c0ffee0123456789',
    )?.value;

  it('are endpoints without a service, on every node of the network', () => {
    const expected = {
      networkId: backend.id,
      taskId: 'c0ffee0123456789',
      serviceId: '',
      nodeId: 'n1',
      address: '10.9.0.99',
      slot: 0,
      aliases: ['sh', 'c0ffee012345'],
      name: 'shell',
      ready: true,
    };
    assert.deepEqual(endpointOf({}, 'n1'), expected);
    assert.deepEqual(endpointOf({}, 'n2'), expected);
    assert.equal(endpointOf({}, 'n3'), undefined);
  });

  it('bring their network to their node', () => {
    const items = state({ attachments: [attachment], tasks: [] }, 'n1');
    assert.ok(items.has('network net-backend'));
    assert.ok(!state({ attachments: [attachment], tasks: [] }, 'n2').has('network net-backend'));
  });

  it('do not answer while they do not run', () => {
    const value = endpointOf({ active: false }, 'n2');
    assert.ok(value !== undefined && 'ready' in value && !value.ready);
  });

  it('are none before they have an address', () => {
    assert.equal(endpointOf({ address: '' }, 'n1'), undefined);
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
