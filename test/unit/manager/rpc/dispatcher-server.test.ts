import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import {
  AssignmentModel,
  type NodeAssignments,
} from '../../../../manager/core/assignments/assignment-model.js';
import type { ProbeAnswer } from '../../../../manager/rpc/host-probe.js';
import { DispatcherServer } from '../../../../manager/rpc/dispatcher-server.js';
import { nodeRemoval } from '../../../../manager/rpc/node-registry.js';
import {
  AssignmentAction,
  AssignmentsType,
  SessionRequest,
  type AssignmentsMessage,
  type SessionMessage,
} from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import {
  NodeRole,
  NodeState,
  TaskState,
  TaskStatus,
} from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext } from '../../../../proto/wire/service.js';
import { aCluster, aNode, aService, aTask, type Some } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const OWN = { nodeId: 'm1', address: '10.0.0.1:4400' };

describe('DispatcherServer', () => {
  let rig: ClusterRig;
  let probed: ProbeAnswer;
  let opened: string[];
  let dispatcher: DispatcherServer<NodeAssignments>;
  let ended: AbortController;

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
    ended = new AbortController();
    probed = 'silent';
    opened = [];
    dispatcher = start();
  });
  afterEach(async () => {
    ended.abort();
    await dispatcher[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    assert.equal(rig.clock.pendingTimers, 0, 'every timer was cancelled');
  });

  function start(): DispatcherServer<NodeAssignments> {
    return new DispatcherServer({
      cluster: rig,
      model: new AssignmentModel(),
      own: OWN,
      random: rig.random,
      logger: silentLogger,
      probe: () => Promise.resolve(probed),
      onSession: (nodeId) => opened.push(nodeId),
    });
  }

  function as(nodeId: string, role: NodeRole = NodeRole.WORKER): CallContext {
    const caller = { kind: 'node', nodeId, role, clusterId: 'cluster' } as const;
    return { caller, signal: ended.signal, peer: '10.0.0.9:5000' };
  }

  function hello(hostname: string): SessionRequest {
    return SessionRequest.fromPartial({
      description: { hostname, agentAddress: '10.0.0.2:4402', dataPathAddress: '10.0.0.2' },
    });
  }

  interface Opened {
    stream: AsyncGenerator<SessionMessage, void, undefined>;
    first: SessionMessage;
  }

  async function open(nodeId: string, role: NodeRole = NodeRole.WORKER): Promise<Opened> {
    const stream = dispatcher.session(hello(`host-${nodeId}`), as(nodeId, role));
    return { stream, first: await next(stream) };
  }

  function stateOf(nodeId: string): NodeState | undefined {
    return rig.view.node(nodeId)?.status.state;
  }

  async function beat(nodeId: string, sessionId: string): Promise<void> {
    await dispatcher.heartbeat({ sessionId, appliedNetworkRevision: 7 }, as(nodeId));
  }

  describe('session', () => {
    it('registers a new node with the role of its certificate and the lowest free index', async () => {
      await rig.put('node', aNode({ id: 'old', index: 1 }), aNode({ id: 'older', index: 3 }));
      const { first } = await open('w', NodeRole.WORKER);
      const { first: manager } = await open('m1', NodeRole.MANAGER);
      assert.equal(first.node?.index, 2);
      assert.equal(first.node.spec?.role, NodeRole.WORKER);
      assert.equal(first.node.managerStatus, undefined);
      assert.deepEqual(first.node.status, {
        state: NodeState.READY,
        message: '',
        addr: '10.0.0.2',
        stateChangedAtMs: rig.clock.nowMs(),
        managerId: 'm1',
        lostAtMs: [],
        unreachable: false,
      });
      assert.equal(manager.node?.index, 4);
      assert.equal(manager.node.managerStatus?.addr, OWN.address);
      assert.equal(first.heartbeatPeriodMs, 1000);
    });

    it('gives nodes that come at the same time different indexes', async () => {
      const ids = ['a', 'b', 'c', 'd', 'e'];
      const opening = Promise.all(ids.map((id) => open(id)));
      await rig.clock.advance(2000);
      const indexes = (await opening).map((o) => o.first.node?.index);
      assert.deepEqual(new Set(indexes), new Set([1, 2, 3, 4, 5]));
    });

    it('writes nothing when a known node comes back unchanged', async () => {
      await open('w');
      const { revision } = rig.view;
      const { first } = await open('w');
      assert.equal(rig.view.revision, revision);
      assert.equal(first.node?.version, revision);
    });

    it('refuses a description by which nobody could reach the node', async () => {
      const request = SessionRequest.fromPartial({
        description: { hostname: '', agentAddress: 'x', dataPathAddress: 'y' },
      });
      await assert.rejects(next(dispatcher.session(request, as('w'))), (error) => {
        assert.ok(error instanceof HatobaError && error.kind === 'invalid-argument');
        assert.match(error.message, /hostname.*\n.*agent_address "x".*\n.*data_path_address "y"/s);
        return true;
      });
      assert.equal(rig.view.node('w'), undefined);
    });

    for (const agentAddress of [
      '10.0.0.2:0',
      '10.0.0.2:70000',
      'a b:1',
      '10.0.0.2:4402\u001b[2J',
    ]) {
      it(`refuses the agent address ${JSON.stringify(agentAddress)}`, async () => {
        const request = SessionRequest.fromPartial({
          description: { hostname: 'w', agentAddress, dataPathAddress: '10.0.0.2' },
        });
        await assert.rejects(next(dispatcher.session(request, as('w'))), {
          kind: 'invalid-argument',
          message: /agent_address ".*" must be host:port/,
        });
      });
    }

    it('lets no node back in that was removed, whatever its certificate says', async () => {
      await open('w');
      const node = rig.view.findByPrefix('node', 'w');
      const lease = await rig.store.grantLease(60_000);
      const revision = await rig.store.commit(nodeRemoval(node, lease.id));
      await rig.view.waitFor(revision);
      await assert.rejects(open('w'), { kind: 'permission-denied', message: /w was removed/ });
      assert.equal(rig.view.node('w'), undefined);
      await lease.revoke();
    });

    it('ends the former session of the same node', async () => {
      const former = await open('w');
      const latter = await open('w');
      await assert.rejects(former.stream.next(), { kind: 'conflict' });
      await assert.rejects(beat('w', former.first.sessionId), { kind: 'failed-precondition' });
      await beat('w', latter.first.sessionId);
      assert.deepEqual(opened, ['w', 'w']);
    });

    it('tells of new managers and of the own spec, and of nothing else', async () => {
      const { stream } = await open('w');
      const told = next(stream);
      await rig.put('node', aNode({ id: 'x', index: 9 })); // no manager: says nothing new
      await rig.put(
        'node',
        aNode({ id: 'm2', index: 10, managerStatus: { addr: '10.0.0.7:4400' } }),
      );
      assert.deepEqual((await told).managerAddresses, [OWN.address, '10.0.0.7:4400']);
      const node = rig.view.node('w');
      assert.ok(node !== undefined);
      const relabelled = next(stream);
      await rig.change('node', { ...node, spec: { ...node.spec, labels: { zone: 'a' } } });
      assert.deepEqual((await relabelled).node?.spec?.labels, { zone: 'a' });
    });
  });

  describe('heartbeats', () => {
    it('keep a node ready, and three missed ones make it down, written once', async () => {
      const { first, stream } = await open('w');
      for (let i = 0; i < 10; i++) {
        await rig.clock.advance(1000);
        await beat('w', first.sessionId);
      }
      assert.equal(stateOf('w'), NodeState.READY);
      await rig.clock.advance(2250);
      assert.equal(stateOf('w'), NodeState.READY);
      await rig.clock.advance(500);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      assert.equal(rig.view.node('w')?.status.message, 'no heartbeat for 2.5 s');
      await rig.clock.advance(500);
      assert.equal(stateOf('w'), NodeState.DOWN);
      assert.equal(rig.view.node('w')?.status.message, 'no heartbeat for 3.0 s');
      assert.deepEqual(rig.view.node('w')?.status.lostAtMs, [rig.clock.nowMs() - 250]);
      const { revision } = rig.view;
      await rig.clock.advance(10_000);
      assert.equal(rig.view.revision, revision);
      await assert.rejects(stream.next(), { kind: 'failed-precondition' });
      await assert.rejects(beat('w', first.sessionId), { kind: 'failed-precondition' });
    });

    it('alone decide: a stream that breaks means nothing', async () => {
      const { first, stream } = await open('w');
      await stream.return();
      for (let i = 0; i < 5; i++) {
        await rig.clock.advance(1000);
        await beat('w', first.sessionId);
      }
      assert.equal(stateOf('w'), NodeState.READY);
    });

    it('of a node that was down count again after a new session', async () => {
      await open('w');
      await rig.clock.advance(4000);
      assert.equal(stateOf('w'), NodeState.DOWN);
      const { first } = await open('w');
      assert.equal(first.node?.status?.state, NodeState.READY);
      assert.equal(first.node.status.stateChangedAtMs, rig.clock.nowMs());
    });

    it('are waited for longer after a start, for nodes that are ready in the store', async () => {
      const status = { managerId: 'm1' };
      await rig.put('node', aNode({ id: 'w', index: 1, status }));
      await dispatcher[Symbol.asyncDispose]();
      dispatcher = start();
      await rig.clock.advance(3750);
      assert.equal(stateOf('w'), NodeState.READY);
      await rig.clock.advance(1000);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await rig.clock.advance(500);
      assert.equal(stateOf('w'), NodeState.DOWN);
    });

    it('that could not be heard, as the manager did not run, are not missing', async () => {
      const { first } = await open('w');
      await rig.put('node', aNode({ id: 'late', index: 7, status: { managerId: 'm1' } }));
      await dispatcher[Symbol.asyncDispose]();
      dispatcher = start();
      await rig.clock.advance(1000);
      const again = await open('w');
      assert.notEqual(again.first.sessionId, first.sessionId);
      rig.clock.holdUp(60_000);
      await rig.clock.advance(1500);
      assert.equal(stateOf('w'), NodeState.READY);
      assert.equal(stateOf('late'), NodeState.READY);
      await rig.clock.advance(3500);
      assert.equal(stateOf('w'), NodeState.DOWN);
      assert.equal(stateOf('late'), NodeState.DOWN);
    });

    it('missing from a host that is there: disconnected, and down when the host is gone too', async () => {
      probed = 'refused';
      await open('w');
      await rig.clock.advance(3250);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await rig.clock.advance(60_000);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      probed = 'silent';
      await rig.clock.advance(4500);
      assert.equal(stateOf('w'), NodeState.DOWN);
    });

    it('missing from an agent that hangs: down', async () => {
      probed = 'accepted';
      await open('w');
      await rig.clock.advance(3250);
      assert.equal(stateOf('w'), NodeState.DOWN);
    });

    it('the last of an agent that ends disconnects its node, which is down only much later', async () => {
      probed = 'refused';
      const { first } = await open('w');
      const last = { sessionId: first.sessionId, appliedNetworkRevision: 7, leaving: true };
      await dispatcher.heartbeat(last, as('w'));
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await assert.rejects(beat('w', first.sessionId), { kind: 'failed-precondition' });
      await rig.clock.advance(60_000);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await dispatcher[Symbol.asyncDispose]();
      dispatcher = start();
      await rig.clock.advance(239_000);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await rig.clock.advance(2000);
      assert.equal(stateOf('w'), NodeState.DOWN);
      const again = await open('w');
      assert.equal(again.first.node?.status?.state, NodeState.READY);
    });

    it('of a node at another manager are not this one’s to judge', async () => {
      await rig.put('node', aNode({ id: 'm2', index: 1, status: { managerId: 'm2' } }));
      await rig.put('node', aNode({ id: 'w', index: 2, status: { managerId: 'm2' } }));
      await rig.clock.advance(20_000);
      assert.equal(stateOf('w'), NodeState.READY);
    });

    it('follow the period of the cluster', async () => {
      const cluster = rig.view.cluster();
      assert.ok(cluster !== undefined);
      const spec = { ...cluster.spec, heartbeatPeriodMs: 4000 };
      await rig.change('cluster', { ...cluster, spec });
      await open('w');
      await rig.clock.advance(7500);
      assert.equal(stateOf('w'), NodeState.READY);
      await rig.clock.advance(4000);
      assert.equal(stateOf('w'), NodeState.DISCONNECTED);
      await rig.clock.advance(1000);
      assert.equal(stateOf('w'), NodeState.DOWN);
    });
  });

  describe('task states', () => {
    const running = { state: TaskState.RUNNING, timestampMs: 1_700_000_000_500 };

    async function report(nodeId: string, taskId: string, status: Some<TaskStatus>): Promise<void> {
      const sessionId = sessions.get(nodeId) ?? '';
      const updates = [{ taskId, status: TaskStatus.fromPartial(status) }];
      const done = dispatcher.updateTaskStatus({ sessionId, updates }, as(nodeId));
      done.catch(() => undefined);
      await rig.clock.advance(50);
      await done;
    }
    const sessions = new Map<string, string>();

    beforeEach(async () => {
      await rig.put(
        'task',
        aTask({ id: 't1', slot: 1, nodeId: 'w', status: { state: TaskState.ASSIGNED } }),
        aTask({ id: 't2', slot: 2, nodeId: 'v', status: { state: TaskState.ASSIGNED } }),
      );
      for (const id of ['w', 'v']) sessions.set(id, (await open(id)).first.sessionId);
      await rig.clock.advance(1000); // the manager's clock is past the reports' times
    });

    it('go forward', async () => {
      await report('w', 't1', running);
      const status = rig.view.task('t1')?.status;
      assert.equal(status?.state, TaskState.RUNNING);
      assert.equal(status.runningAtMs, running.timestampMs);
      await report('w', 't1', { state: TaskState.FAILED, err: 'exit 1', timestampMs: 9 });
      assert.equal(rig.view.task('t1')?.status.err, 'exit 1');
      assert.equal(rig.view.task('t1')?.status.runningAtMs, running.timestampMs);
    });

    it('never go back, and an end is final', async () => {
      await report('w', 't1', running);
      const { revision } = rig.view;
      await report('w', 't1', { state: TaskState.STARTING });
      assert.equal(rig.view.revision, revision);
      await report('w', 't1', { state: TaskState.COMPLETE });
      await report('w', 't1', { state: TaskState.FAILED });
      assert.equal(rig.view.task('t1')?.status.state, TaskState.COMPLETE);
    });

    it('that say nothing new are not written', async () => {
      await report('w', 't1', running);
      const { revision } = rig.view;
      await report('w', 't1', { ...running, timestampMs: running.timestampMs + 100 });
      assert.equal(rig.view.revision, revision);
    });

    it('of another node’s task are refused', async () => {
      await assert.rejects(report('w', 't2', running), { kind: 'permission-denied' });
      assert.equal(rig.view.task('t2')?.status.state, TaskState.ASSIGNED);
    });

    it('that only managers give are refused', async () => {
      for (const state of [TaskState.NEW, TaskState.ASSIGNED, TaskState.ORPHANED]) {
        await assert.rejects(report('w', 't1', { state }), { kind: 'invalid-argument' });
      }
    });

    it('of a task that is gone are accepted and forgotten', async () => {
      await report('w', 'no-such-task', running);
    });

    it('that say that a task runs are written at once', async () => {
      const sessionId = sessions.get('w') ?? '';
      const updates = [{ taskId: 't1', status: TaskStatus.fromPartial(running) }];
      await dispatcher.updateTaskStatus({ sessionId, updates }, as('w'));
      assert.equal(rig.view.task('t1')?.status.state, TaskState.RUNNING);
    });

    it('of many tasks share transactions', async () => {
      const tasks = Array.from({ length: 200 }, (_, i) =>
        aTask({
          id: `x${i}`,
          slot: i + 10,
          nodeId: 'w',
          status: { state: TaskState.ASSIGNED },
        }),
      );
      await rig.put('task', ...tasks);
      const { revision } = rig.view;
      const sessionId = sessions.get('w') ?? '';
      const status = TaskStatus.fromPartial(running);
      const all = Promise.all(
        tasks.map((t) =>
          dispatcher.updateTaskStatus({ sessionId, updates: [{ taskId: t.id, status }] }, as('w')),
        ),
      );
      await rig.clock.advance(50);
      await all;
      assert.ok(tasks.every((t) => rig.view.task(t.id)?.status.state === TaskState.RUNNING));
      assert.equal(rig.view.revision - revision, 2, '200 writes in 2 transactions of at most 128');
    });

    it('are written again when another write came between', async () => {
      const sessionId = sessions.get('w') ?? '';
      const updates = [{ taskId: 't1', status: TaskStatus.fromPartial(running) }];
      const done = dispatcher.updateTaskStatus({ sessionId, updates }, as('w'));
      const task = rig.view.task('t1');
      assert.ok(task !== undefined);
      const change = rig.change('task', { ...task, desiredState: TaskState.SHUTDOWN });
      await rig.clock.advance(200);
      await Promise.all([done, change]);
      assert.equal(rig.view.task('t1')?.status.state, TaskState.RUNNING);
      assert.equal(rig.view.task('t1')?.desiredState, TaskState.SHUTDOWN);
    });
  });

  describe('assignments', () => {
    async function subscribe(
      nodeId: string,
    ): Promise<AsyncGenerator<AssignmentsMessage, void, undefined>> {
      const { sessionId } = (await open(nodeId)).first;
      return dispatcher.assignments({ sessionId }, as(nodeId));
    }

    function tasksIn(message: AssignmentsMessage): string[] {
      return message.changes.flatMap((change) =>
        change.item?.$case === 'task' ? [`${change.action.slice(18)} ${change.item.value.id}`] : [],
      );
    }

    beforeEach(async () => {
      await rig.put('service', aService());
      await rig.put('task', assigned('t1', 1, 'w'), assigned('t2', 2, 'v'));
    });

    function assigned(id: string, slot: number, nodeId: string): ReturnType<typeof aTask> {
      return aTask({ id, slot, nodeId, status: { state: TaskState.ASSIGNED } });
    }

    it('come whole, then in numbered steps that say what changed', async () => {
      const stream = await subscribe('w');
      const whole = await next(stream);
      assert.equal(whole.type, AssignmentsType.COMPLETE);
      assert.deepEqual([whole.appliesTo, whole.resultsIn], ['', '1']);
      assert.equal(whole.revision, rig.view.revision);
      assert.deepEqual(tasksIn(whole), ['UPDATE t1']);

      const step = next(stream);
      await rig.put('task', assigned('t3', 3, 'w'));
      await rig.put('task', assigned('t4', 4, 'v'));
      await rig.clock.advance(20);
      const second = await step;
      assert.equal(second.type, AssignmentsType.INCREMENTAL);
      assert.deepEqual([second.appliesTo, second.resultsIn], ['1', '2']);
      assert.deepEqual(tasksIn(second), ['UPDATE t3']);
      assert.equal(second.revision, rig.view.revision);
    });

    it('leave nothing out and repeat nothing when the agent is slow', async () => {
      const stream = await subscribe('w');
      await next(stream);
      for (let i = 0; i < 5; i++) {
        await rig.put('task', assigned(`s${i}`, 10 + i, 'w'));
        await rig.clock.advance(20);
      }
      const coalesced = await next(stream);
      assert.deepEqual(
        tasksIn(coalesced),
        ['s0', 's1', 's2', 's3', 's4'].map((t) => `UPDATE ${t}`),
      );
      assert.deepEqual([coalesced.appliesTo, coalesced.resultsIn], ['1', '2']);
    });

    it('name what is to be forgotten', async () => {
      const stream = await subscribe('w');
      await next(stream);
      const task = rig.view.task('t1');
      assert.ok(task !== undefined);
      const step = next(stream);
      const { revision } = await rig.store
        .list('/hatoba/v1/task/')
        .then(
          ({ entries }) => entries.find((e) => e.key.includes('/00000001/')) ?? { revision: 0 },
        );
      await rig.store.commit({
        guards: [{ key: `/hatoba/v1/task/${task.serviceId}/00000001/00000001`, revision }],
        puts: [],
        deletes: [`/hatoba/v1/task/${task.serviceId}/00000001/00000001`],
      });
      await rig.clock.advance(20);
      const { changes } = await step;
      const removed = changes.find((c) => c.item?.$case === 'task');
      assert.equal(removed?.action, AssignmentAction.REMOVE);
      assert.equal(removed.item?.$case === 'task' && removed.item.value.id, 't1');
    });

    it('end with the session', async () => {
      const stream = await subscribe('w');
      await next(stream);
      const waiting = stream.next();
      waiting.catch(() => undefined);
      await open('w');
      await assert.rejects(waiting, { kind: 'conflict' });
    });

    it('need a session of this manager', async () => {
      const stream = dispatcher.assignments({ sessionId: 'nope' }, as('w'));
      await assert.rejects(stream.next(), { kind: 'failed-precondition' });
    });
  });
});

async function next<T>(stream: AsyncGenerator<T, void, undefined>): Promise<T> {
  const { value, done } = await stream.next();
  assert.ok(done !== true && value !== undefined, 'the stream goes on');
  return value;
}
