import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import type { Task } from '../../../../common/model/objects.js';
import {
  AssignmentModel,
  type NodeAssignments,
} from '../../../../manager/core/assignments/assignment-model.js';
import { DispatcherServer } from '../../../../manager/rpc/dispatcher-server.js';
import type { AssignmentsMessage } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { SessionRequest } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import {
  NodeDescription,
  NodeRole,
  NodeState,
  TaskState,
  type Task as TaskMessage,
} from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext } from '../../../../proto/wire/service.js';
import { aCluster, aNetwork, aService, aTask, type Some } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const backend = aNetwork({
  vni: 4096,
  ipam: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', ipRange: '' }],
});

describe('orders that wait for the networks', () => {
  let rig: ClusterRig;
  let dispatcher: DispatcherServer<NodeAssignments>;
  let ended: AbortController;
  const agents = new Map<string, FakeAgent>();

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
    await rig.put('network', backend);
    await rig.put('service', aService());
    ended = new AbortController();
    dispatcher = start();
  });
  afterEach(async () => {
    ended.abort();
    await dispatcher[Symbol.asyncDispose]();
    await Promise.all([...agents.values()].map((a) => a.done));
    agents.clear();
    await rig[Symbol.asyncDispose]();
    assert.equal(rig.clock.pendingTimers, 0, 'every timer was cancelled');
  });

  function start(): DispatcherServer<NodeAssignments> {
    return new DispatcherServer({
      cluster: rig,
      model: new AssignmentModel(),
      own: { nodeId: 'm1', address: '10.0.0.1:4400' },
      random: rig.random,
      logger: silentLogger,
      probe: () => Promise.resolve('silent' as const),
      onSession: () => undefined,
    });
  }

  function as(nodeId: string): CallContext {
    const caller = { kind: 'node', nodeId, role: NodeRole.WORKER, clusterId: 'cluster' } as const;
    return { caller, signal: ended.signal, peer: '10.0.0.9:5000' };
  }

  /** What an agent does, but its kernel shows something only when it is told to. */
  class FakeAgent {
    readonly nodeId: string;
    /** Of each task it was told of, the desired states in order. */
    readonly orders = new Map<string, TaskState[]>();
    done: Promise<void> = Promise.resolve();
    messages = 0;
    #sessionId = '';
    #received = 0;

    constructor(nodeId: string) {
      this.nodeId = nodeId;
    }

    async open(): Promise<void> {
      const hello = SessionRequest.fromPartial({
        description: describeHost(this.nodeId),
      });
      const stream = dispatcher.session(hello, as(this.nodeId));
      const first = await stream.next();
      assert.ok(first.value !== undefined);
      this.#sessionId = first.value.sessionId;
      this.done = this.#read(
        dispatcher.assignments({ sessionId: this.#sessionId }, as(this.nodeId)),
      );
      await rig.clock.advance(0);
    }

    async #read(stream: AsyncIterable<AssignmentsMessage>): Promise<void> {
      try {
        for await (const message of stream) this.#take(message);
      } catch {
        // the session ended
      }
    }

    #take({ revision, changes }: AssignmentsMessage): void {
      this.messages++;
      this.#received = revision;
      for (const { item } of changes) {
        if (item?.$case !== 'task' || item.value.spec === undefined) continue;
        const orders = this.orders.get(item.value.id) ?? [];
        if (orders.at(-1) !== item.value.desiredState) orders.push(item.value.desiredState);
        this.orders.set(item.value.id, orders);
      }
    }

    /** Its kernel shows all that it was told of. */
    async confirm(description?: NodeDescription): Promise<void> {
      const request = { sessionId: this.#sessionId, appliedNetworkRevision: this.#received };
      await dispatcher.heartbeat(
        { ...request, ...(description === undefined ? {} : { description }) },
        as(this.nodeId),
      );
      await rig.clock.advance(0);
    }

    async leave(): Promise<void> {
      const request = { sessionId: this.#sessionId, appliedNetworkRevision: 0, leaving: true };
      await dispatcher.heartbeat(request, as(this.nodeId));
      await rig.clock.advance(0);
    }
  }

  async function agent(nodeId: string): Promise<FakeAgent> {
    const made = new FakeAgent(nodeId);
    agents.set(nodeId, made);
    await made.open();
    await made.confirm();
    return made;
  }

  function aTaskOn(nodeId: string, slot: number, some: Some<TaskMessage> = {}): Task {
    const address = `10.9.0.${10 + slot}/24`;
    return aTask({
      ...{ id: `t${slot}`, slot, nodeId, desiredSinceMs: rig.clock.nowMs() },
      networksAttachments: [
        { networkId: backend.id, networkName: 'backend', addresses: [address] },
      ],
      ...some,
      status: { state: TaskState.RUNNING, ...some.status },
    });
  }

  async function change(id: string, some: Partial<Task>): Promise<void> {
    const task = rig.view.task(id);
    assert.ok(task !== undefined);
    await rig.change('task', { ...task, ...some });
    await rig.clock.advance(10);
  }

  const stop = (id: string): Promise<void> =>
    change(id, { desiredState: TaskState.SHUTDOWN, desiredSinceMs: rig.clock.nowMs() });

  /** Nodes a, b and c; task t1 runs on a, t2 on b, so c has nothing of the network. */
  async function threeNodes(): Promise<readonly [FakeAgent, FakeAgent, FakeAgent]> {
    await rig.put('task', aTaskOn('a', 1), aTaskOn('b', 2));
    return [await agent('a'), await agent('b'), await agent('c')];
  }

  it('a stop goes out when the last node has left the task out', async () => {
    const [a, b] = await threeNodes();
    await stop('t1');
    assert.equal(
      dispatcher.networkWaitOf('t1'),
      'stops once nodes host-a, host-b send it nothing new',
    );
    await a.confirm();
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING]);
    assert.equal(dispatcher.networkWaitOf('t1'), 'stops once node host-b sends it nothing new');
    await b.confirm();
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING, TaskState.SHUTDOWN]);
    assert.equal(dispatcher.networkWaitOf('t1'), '');
    assert.equal(dispatcher.appliedNetworkRevision('b'), rig.view.revision);
    assert.equal(dispatcher.appliedNetworkRevision('nobody'), undefined);
  });

  it('a node that has nothing of the network is neither told nor waited for', async () => {
    const [a, b, c] = await threeNodes();
    const before = c.messages;
    await stop('t1');
    await a.confirm();
    await b.confirm();
    assert.equal(c.messages, before);
    assert.deepEqual(a.orders.get('t1')?.at(-1), TaskState.SHUTDOWN);
  });

  it('a node whose kernel lags behind holds it up for the time the cluster gives', async () => {
    const cluster = rig.view.cluster();
    assert.ok(cluster !== undefined);
    await rig.change('cluster', { ...cluster, spec: { ...cluster.spec, networkWaitMs: 700 } });
    const [a] = await threeNodes();
    await stop('t1');
    await rig.clock.advance(680);
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING]);
    await rig.clock.advance(10);
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING, TaskState.SHUTDOWN]);
  });

  it('a node whose agent leaves is waited for no more', async () => {
    const [a, b] = await threeNodes();
    await stop('t1');
    await a.confirm();
    await b.leave();
    assert.deepEqual(a.orders.get('t1')?.at(-1), TaskState.SHUTDOWN);
  });

  it('a node that falls silent is waited for until it is down', async () => {
    const [a] = await threeNodes();
    await stop('t1');
    for (let ms = 0; ms < 4000; ms += 500) {
      await a.confirm();
      await agents.get('c')?.confirm();
      await rig.clock.advance(500);
    }
    assert.equal(rig.view.node('b')?.status.state, NodeState.DOWN);
    assert.deepEqual(a.orders.get('t1')?.at(-1), TaskState.SHUTDOWN);
  });

  it('a new manager knows what still waits, and for how long', async () => {
    await threeNodes();
    await stop('t1');
    ended.abort();
    await dispatcher[Symbol.asyncDispose]();
    await rig.clock.advance(2000);
    ended = new AbortController();
    dispatcher = start();
    const [a, b] = [await agent('a'), new FakeAgent('b')];
    agents.set('b', b);
    await b.open();
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING]);
    await rig.clock.advance(2000);
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING]);
    await a.confirm();
    await b.confirm();
    await rig.clock.advance(1000);
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING, TaskState.SHUTDOWN]);
  });

  it('a new task is prepared meanwhile and starts when every node can reach it', async () => {
    const [a, b, c] = await threeNodes();
    const slot = { desiredState: TaskState.RUNNING, status: { state: TaskState.ASSIGNED } };
    await rig.put('task', aTaskOn('c', 3, slot));
    await rig.clock.advance(10);
    assert.deepEqual(c.orders.get('t3'), [TaskState.READY]);
    assert.match(dispatcher.networkWaitOf('t3'), /^starts once nodes host-a, host-b, host-c can/);
    for (const node of [a, b, c]) await node.confirm();
    assert.deepEqual(c.orders.get('t3'), [TaskState.READY, TaskState.RUNNING]);
  });

  it('what needs no network waits for nobody', async () => {
    const plain = { networksAttachments: [], status: { state: TaskState.RUNNING } };
    await rig.put('task', aTaskOn('a', 1, plain), aTaskOn('b', 2));
    const [a] = [await agent('a'), await agent('b')];
    await stop('t1');
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING, TaskState.SHUTDOWN]);
  });

  it('the first change goes out at once, those that follow it together', async () => {
    const [a] = await threeNodes();
    await rig.clock.advance(100);
    const before = a.messages;
    const write = async (id: string): Promise<void> => {
      const task = rig.view.task(id);
      assert.ok(task !== undefined);
      await rig.change('task', { ...task, desiredState: TaskState.SHUTDOWN });
      await rig.clock.advance(0);
    };
    await write('t1');
    assert.equal(a.messages, before + 1, 'without any time passing');
    await rig.put('task', aTaskOn('b', 4));
    await write('t2');
    assert.equal(a.messages, before + 1);
    await rig.clock.advance(10);
    assert.equal(a.messages, before + 2);
    await rig.clock.advance(100);
    assert.equal(a.messages, before + 2);
  });

  describe('what a node tells anew of itself', () => {
    const described = (some: Some<NodeDescription>): NodeDescription =>
      NodeDescription.fromPartial({ ...describeHost('a'), ...some });

    it('is written when it differs', async () => {
      const a = await agent('a');
      await a.confirm(described({ hostSubnets: ['192.168.4.0/22'] }));
      assert.deepEqual(rig.view.node('a')?.description.hostSubnets, ['192.168.4.0/22']);
      const { revision } = rig.view;
      await a.confirm(described({ hostSubnets: ['192.168.4.0/22'] }));
      assert.equal(rig.view.revision, revision);
    });

    it('is old when a new session begins before it could be written', async () => {
      const a = await agent('a');
      const { store } = rig;
      const commit = store.commit.bind(store);
      store.commit = () => Promise.reject(new HatobaError('unavailable', 'no etcd'));
      await a.confirm(described({ hostSubnets: ['192.168.4.0/22'] }));
      store.commit = commit;
      await a.open();
      await a.confirm();
      assert.deepEqual(rig.view.node('a')?.description.hostSubnets, []);
    });

    it('is refused when nobody could reach the node by it', async () => {
      const a = await agent('a');
      const { revision } = rig.view;
      await assert.rejects(a.confirm(described({ agentAddress: 'nowhere' })), {
        kind: 'invalid-argument',
        message: /agent_address "nowhere"/,
      });
      assert.equal(rig.view.revision, revision);
    });
  });
});

function describeHost(nodeId: string): Some<NodeDescription> {
  const address = '10.0.0.2';
  return {
    hostname: `host-${nodeId}`,
    agentAddress: `${address}:4402`,
    dataPathAddress: address,
  };
}
