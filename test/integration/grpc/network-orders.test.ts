import assert from 'node:assert/strict';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger } from '../../../common/logger.js';
import type { Task } from '../../../common/model/objects.js';
import {
  AssignmentModel,
  type NodeAssignments,
} from '../../../manager/core/assignments/assignment-model.js';
import type { Change } from '../../../manager/core/snapshot.js';
import { DispatcherServer } from '../../../manager/rpc/dispatcher-server.js';
import { MemoryStore } from '../../../manager/store/memory-store.js';
import { applyPlan } from '../../../manager/store/write.js';
import { Reflector } from '../../../manager/view/reflector.js';
import { View } from '../../../manager/view/view.js';
import { NetworkApplier } from '../../../node-agent/executor/network-applier.js';
import { connectGrpcDispatcher } from '../../../node-agent/session/grpc-dispatcher.js';
import { Session } from '../../../node-agent/session/session.js';
import { StatusReporter } from '../../../node-agent/session/status-reporter.js';
import { AssignmentSink } from '../../../node-agent/worker/assignment-sink.js';
import { NodeRole, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { listenTls, type RpcServer } from '../../../proto/wire/server.js';
import type { TlsIdentity } from '../../../proto/wire/tls.js';
import { aCluster, aNetwork, aNode, aService, aTask } from '../../support/builders.js';
import { eventually } from '../../support/eventually.js';
import { createTestCa, type TestCa } from '../../support/tls-rig.js';

const modules = { clock: systemClock, random: systemRandom, logger: silentLogger };
/** So long that nothing here happens because it is over. */
const NEVER_MS = 3_600_000;

/** The session and the networks of an agent; its kernel takes new states only while it is let. */
class NodeRig {
  readonly nodeId: string;
  /** Of each task, the desired states it was told of, in order. */
  readonly orders = new Map<string, TaskState[]>();
  readonly #stop = new AbortController();
  readonly #networks: NetworkApplier;
  readonly #running: Promise<void>;
  #gate: Promise<void> = Promise.resolve();
  #open: () => void = () => undefined;

  constructor(nodeId: string, identity: TlsIdentity, manager: string) {
    this.nodeId = nodeId;
    const { clock, random, logger: log } = modules;
    this.#networks = new NetworkApplier(
      { nodeId, needsCluster: false },
      {
        driver: {
          apply: () => this.#gate,
          leavingDone: () => Promise.resolve(),
          endStaleConnections: () => Promise.resolve(),
        },
        localPart: () => ({ networks: [], endpoints: [] }),
        keep: () => Promise.resolve(),
        onChange: () => undefined,
        onShown: () => session.onNetworkApplied(),
        ...{ clock, random, log },
      },
    );
    const worker = {
      assign: ({ updated }: { readonly updated: readonly Task[] }) => this.#take(updated),
      sweep: () => Promise.resolve(),
    };
    const sink = new AssignmentSink(
      { nodeId, tasks: [] },
      { worker, networks: this.#networks, log },
    );
    const { description } = aNode({
      description: { agentAddress: '127.0.0.1:4402', dataPathAddress: '127.0.0.1' },
    });
    const session: Session = new Session({
      connect: (address) => connectGrpcDispatcher(address, identity),
      managers: { addresses: () => [manager], learn: () => Promise.resolve() },
      reporter: new StatusReporter({ clock, random, log }),
      describe: () => Promise.resolve({ ...description, hostname: nodeId }),
      statuses: () => new Map(),
      appliedNetworkRevision: () => this.#networks.shownRevision,
      onAssignments: (message) => sink.receive(message),
      ...{ clock, random, log },
    });
    this.#running = session.run(this.#stop.signal);
  }

  /** What is applied from now on takes until the gate is opened. */
  shutGate(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  openGate(): void {
    this.#gate = Promise.resolve();
    this.#open();
  }

  async close(): Promise<void> {
    this.openGate();
    this.#stop.abort();
    await this.#running;
    await this.#networks[Symbol.asyncDispose]();
  }

  #take(tasks: readonly Task[]): void {
    for (const { id, desiredState } of tasks) {
      const orders = this.orders.get(id) ?? [];
      if (orders.at(-1) !== desiredState) orders.push(desiredState);
      this.orders.set(id, orders);
    }
  }
}

describe('orders and networks, over real sessions', () => {
  let ca: TestCa;
  let store: MemoryStore;
  let view: View;
  let reflector: Reflector;
  let dispatcher: DispatcherServer<NodeAssignments>;
  let server: RpcServer;
  let a: NodeRig;
  let b: NodeRig;
  const network = aNetwork({
    vni: 4096,
    ipam: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1', ipRange: '' }],
  });

  before(async () => {
    ca = await createTestCa();
  });

  beforeEach(async () => {
    store = new MemoryStore(modules);
    view = new View();
    reflector = new Reflector({ store, view, ...modules });
    await reflector.start();
    const { clock, random, logger } = modules;
    dispatcher = new DispatcherServer({
      ...{ cluster: { store, view, clock }, model: new AssignmentModel(), random, logger },
      own: { nodeId: 'm1', address: '127.0.0.1:4400' },
      probe: () => Promise.resolve('silent' as const),
      onSession: () => undefined,
    });
    const identity = await ca.issue('m1', NodeRole.MANAGER);
    const services = [dispatcher.service()];
    server = await listenTls({ host: '127.0.0.1', port: 0, identity, services, logger });
    const spec = { heartbeatPeriodMs: NEVER_MS, networkWaitMs: NEVER_MS };
    await create('cluster', aCluster({ spec }));
    await create('network', network);
    await create('service', aService());
    await create('task', taskOn('a', 1, TaskState.RUNNING));
    await create('task', taskOn('b', 2, TaskState.RUNNING));
    const address = `127.0.0.1:${server.port}`;
    a = new NodeRig('a', await ca.issue('a', NodeRole.WORKER), address);
    b = new NodeRig('b', await ca.issue('b', NodeRole.WORKER), address);
    await eventually(() => {
      for (const { nodeId } of [a, b]) assertShows(nodeId, view.revision);
    });
  });

  afterEach(async () => {
    await a.close();
    await b.close();
    await server[Symbol.asyncDispose]();
    await dispatcher[Symbol.asyncDispose]();
    await reflector[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  async function write(change: Change): Promise<number> {
    const { revision, conflicts } = await applyPlan(store, { groups: [[change]] }, modules);
    assert.equal(conflicts, 0);
    await view.waitFor(revision);
    return revision;
  }

  function create(kind: Change['kind'], object: Change['object']): Promise<number> {
    return write({ action: 'create', kind, object } as Change);
  }

  function taskOn(nodeId: string, slot: number, state: TaskState): Task {
    const addresses = [`10.9.0.${slot + 10}/24`];
    const networksAttachments = [{ networkId: network.id, networkName: 'backend', addresses }];
    return aTask({ id: `t${slot}`, slot, nodeId, networksAttachments, status: { state } });
  }

  function assertShows(nodeId: string, revision: number): void {
    const shown = dispatcher.appliedNetworkRevision(nodeId) ?? 0;
    assert.ok(shown >= revision, `node ${nodeId} shows ${shown}, not ${revision}`);
  }

  it('a task is stopped once the kernel of every node has left it out', async () => {
    b.shutGate();
    const task = view.task('t1');
    assert.ok(task !== undefined);
    const stopped = { ...task, desiredState: TaskState.SHUTDOWN };
    const revision = await write({ action: 'update', kind: 'task', object: stopped });
    await eventually(() => assertShows('a', revision));
    assert.equal(dispatcher.networkWaitOf('t1'), 'stops once node b sends it nothing new');
    assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING]);
    b.openGate();
    await eventually(() =>
      assert.deepEqual(a.orders.get('t1'), [TaskState.RUNNING, TaskState.SHUTDOWN]),
    );
    assertShows('b', revision);
  });

  it('a task runs once the kernel of every node knows it', async () => {
    b.shutGate();
    const revision = await create('task', taskOn('a', 3, TaskState.ASSIGNED));
    await eventually(() => assertShows('a', revision));
    await eventually(() => assert.deepEqual(a.orders.get('t3'), [TaskState.READY]));
    assert.equal(dispatcher.networkWaitOf('t3'), 'starts once node b can reach it');
    b.openGate();
    await eventually(() =>
      assert.deepEqual(a.orders.get('t3'), [TaskState.READY, TaskState.RUNNING]),
    );
  });
});
