import type { Task } from '../../../common/model/objects.js';
import { placeOf } from '../../../common/model/task-place.js';
import type { Random } from '../../../common/random.js';
import { MemoryStore } from '../../../manager/store/memory-store.js';
import type { Store, Transaction } from '../../../manager/store/store.js';
import { applyPlan } from '../../../manager/store/write.js';
import type { ProbeAnswer } from '../../../manager/rpc/host-probe.js';
import type { View } from '../../../manager/view/view.js';
import { NodeRole, type TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { aCluster, aNetwork, aNode, T0 } from '../../support/builders.js';
import { seededRandom } from '../../support/seeded-random.js';
import { Violation } from '../invariants/invariant.js';
import { hostNames, type Script } from '../scenario.js';
import { SimNetwork } from './network.js';
import { SimProcess } from './process.js';
import { SimAgent } from './sim-agent.js';
import { NANO_CPUS, SimExecutor, SimHost } from './sim-host.js';
import { SimManager } from './sim-manager.js';
import { StoreClient, type CommitFate } from './store-client.js';
import { Timeline } from './timeline.js';
import { Trace } from './trace.js';
import { Truth, type Commit } from './truth.js';
import { SimDispatcher, type Endpoint } from './wire.js';

/** What is made wrong on purpose, to see that it is found. */
export interface Mutation {
  /** A manager's store. */
  readonly store?: (store: Store, random: Random) => Store;
  /** What the control loops of a manager see. */
  readonly view?: (view: View) => View;
}

export interface ClusterHooks {
  /** After each commit; may throw a Violation. */
  readonly onCommit: (commit: Commit, cluster: SimCluster) => void;
  /** A container has begun to run; may throw a Violation. */
  readonly onStarted: (task: Task, host: SimHost) => void;
}

const PROBE_TIMEOUT_MS = 1000;

/** Machines, managers and agents in one process, under a clock that stands still until it is told. */
export class SimCluster {
  readonly timeline = new Timeline();
  readonly random: Random;
  readonly network: SimNetwork;
  readonly memory: MemoryStore;
  readonly truth: Truth;
  readonly trace: Trace;
  readonly hosts: readonly SimHost[];
  /** What must never be was. */
  failure: Error | undefined;
  /** Asked for each commit that reaches the store. */
  fateOf: (transaction: Transaction, host: SimHost) => CommitFate = () => 'made';
  /** After a commit of a manager was made. */
  onWritten: (transaction: Transaction, host: SimHost) => void = () => undefined;
  readonly #mutation: Mutation;
  readonly #hooks: ClusterHooks;
  readonly #images = new Map<string, string>();
  readonly #reported = new Set<string>();
  #starts = 0;

  constructor(
    script: Pick<Script, 'seed' | 'managers' | 'workers'>,
    options: { keepTrace: boolean; mutation: Mutation; hooks: ClusterHooks },
  ) {
    this.random = seededRandom(script.seed);
    this.#mutation = options.mutation;
    this.#hooks = options.hooks;
    const { timeline } = this;
    const nowMs = (): number => timeline.nowMs();
    this.trace = new Trace({ keep: options.keepTrace, nowMs });
    this.network = new SimNetwork(timeline, this.#fork());
    const clock = { nowMs, setTimer: (ms: number, run: () => void) => timeline.after(ms, run) };
    this.memory = new MemoryStore({ clock });
    this.truth = new Truth(timeline, (commit) => this.#onCommit(commit));
    const names = hostNames(script);
    const managers = names.filter((n) => n.startsWith('m')).map((n) => `${addressOf(n)}:4400`);
    this.hosts = names.map((name) => {
      const isManager = name.startsWith('m');
      return new SimHost({ name, address: addressOf(name), isManager, managers });
    });
  }

  host(name: string): SimHost | undefined {
    return this.hosts.find((h) => h.name === name);
  }

  /** Milliseconds since the beginning. */
  get elapsedMs(): number {
    return this.timeline.nowMs() - T0;
  }

  /** The first objects, then all processes. */
  async begin(subnetSize: number): Promise<void> {
    await this.truth.follow(this.memory);
    const cluster = aCluster({ version: 0, spec: { subnetSize, taskHistoryLimit: 2 } });
    const specs = [{ name: 'ingress', ingress: true }, { name: 'back' }];
    const networks = specs.map((spec) => aNetwork({ version: 0, id: spec.name, spec }));
    await applyPlan(
      this.memory,
      {
        groups: [
          [{ action: 'create', kind: 'cluster', object: cluster }],
          ...networks.map((object) => [{ action: 'create', kind: 'network', object } as const]),
        ],
      },
      { clock: { nowMs: () => T0, setTimer: () => () => undefined } },
    );
    for (const host of this.hosts) {
      if (host.isManager) this.startManager(host);
      this.startAgent(host);
    }
  }

  /** Runs until that time, or until something is wrong. */
  async runUntil(elapsedMs: number): Promise<void> {
    while (this.failure === undefined && (await this.timeline.step(T0 + elapsedMs)));
  }

  /** Runs `run`, whose violation ends the simulation. */
  guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error: unknown): void {
    this.failure ??= error instanceof Error ? error : new Error(String(error));
  }

  wasReported(nodeId: string, taskId: string, state: TaskState): boolean {
    return this.#reported.has(`${nodeId} ${taskId} ${state}`);
  }

  /** The host whose manager holds the campaign key. */
  leadingHost(): SimHost | undefined {
    const process = this.truth.leader?.process;
    return this.hosts.find((h) => h.manager?.process === process && process !== undefined);
  }

  // ---- managers ------------------------------------------------------------------------------

  startManager(host: SimHost): void {
    if (!host.isOn || host.manager !== undefined || !host.isManager) return;
    const process = this.#newProcess(`${host.name}/manager`, 0);
    const random = this.#fork();
    const store = new StoreClient({
      ...{ store: this.memory, timeline: this.timeline, process, random: this.#fork() },
      fateOf: (transaction) => this.fateOf(transaction, host),
      onCommit: (transaction) => this.#begins(transaction, process, host),
    });
    const manager = new SimManager(
      { nodeId: host.name },
      {
        ...{ process, random, logger: this.#logger(process) },
        store: this.#mutation.store?.(store, this.#fork()) ?? store,
        loopView: (view) => this.#mutation.view?.(view) ?? view,
        probe: (address) => this.#probe(host, process, address),
      },
    );
    host.manager = { process, manager, store };
    manager.run(`${host.address}:4400`).catch((error: unknown) => this.fail(error));
    this.trace.add(`${process.name} started`);
  }

  stopManager(host: SimHost): void {
    const running = host.manager;
    if (running === undefined) return;
    this.trace.add(`${running.process.name} ends`);
    running.process.kill();
    void running.store[Symbol.asyncDispose]();
    host.manager = undefined;
    if (!host.isOn) return;
    for (const other of this.hosts) {
      for (const connection of other.agent?.connections ?? []) {
        connection.onPeerGone(running.process);
      }
    }
  }

  #begins(transaction: Transaction, process: SimProcess, host: SimHost): void {
    this.truth.begins(process, transaction);
    this.onWritten(transaction, host);
  }

  #probe(from: SimHost, process: SimProcess, agentAddress: string): Promise<ProbeAnswer> {
    const to = this.hosts.find((h) => `${h.address}:4402` === agentAddress);
    return new Promise((resolve) => {
      const isThere =
        to?.isOn === true &&
        !this.network.isCut(from.name, to.name) &&
        !this.network.isCut(to.name, from.name);
      if (!isThere) return void process.setTimer(PROBE_TIMEOUT_MS, () => resolve('silent'));
      process.setTimer(1, () => resolve(to.agent === undefined ? 'refused' : 'accepted'));
    });
  }

  // ---- agents --------------------------------------------------------------------------------

  startAgent(host: SimHost): void {
    if (!host.isOn || host.agent !== undefined) return;
    const skewMs = Math.round((this.random.next() - 0.5) * 1000);
    const process = this.#newProcess(`${host.name}/agent`, skewMs);
    const connections = new Set<SimDispatcher>();
    const agent = new SimAgent(
      { nodeId: host.name },
      {
        ...{ process, disk: host.disk, random: this.#fork(), logger: this.#logger(process) },
        executor: this.#executorOf(host, process),
        connect: (address) => this.#connect(host, process, connections, address),
        describe: () => describe(host),
        networkEffortMs: () => (this.random.next() < 0.97 ? 2 : 400),
        onFatal: (error) => this.fail(error),
      },
    );
    host.agent = { process, agent, connections };
    agent.run().catch((error: unknown) => this.fail(error));
    this.trace.add(`${process.name} started`);
  }

  stopAgent(host: SimHost): void {
    const running = host.agent;
    if (running === undefined) return;
    this.trace.add(`${running.process.name} ends`);
    running.process.kill();
    host.machine.listeners.clear();
    host.agent = undefined;
    if (!host.isOn) return;
    for (const connection of running.connections) connection.hangUp();
  }

  #executorOf(host: SimHost, process: SimProcess): SimExecutor {
    const clock = { nowMs: () => this.timeline.nowMs() };
    return new SimExecutor(host, {
      process,
      machineClock: { ...clock, setTimer: (ms, run) => this.timeline.after(ms, run) },
      imageOf: (taskId) => this.#images.get(taskId) ?? '',
      onStarted: (task) => {
        this.trace.add(`${host.name} runs ${task.serviceName}.${task.slot} ${task.id}`);
        this.guarded(() => this.#hooks.onStarted(task, host));
      },
    });
  }

  #connect(
    host: SimHost,
    process: SimProcess,
    connections: Set<SimDispatcher>,
    address: string,
  ): SimDispatcher {
    const there = this.hosts.find((h) => `${h.address}:4400` === address);
    const endpoint: Endpoint = {
      host: there?.name ?? address,
      serving: () => {
        if (there?.isOn !== true) return undefined;
        const { manager } = there;
        return manager === undefined
          ? { process, server: undefined }
          : { process: manager.process, server: manager.manager.dispatcher };
      },
    };
    const role = host.isManager ? NodeRole.MANAGER : NodeRole.WORKER;
    const connection = new SimDispatcher(endpoint, {
      ...{ network: this.network, process, host: host.name },
      identity: { nodeId: host.name, role, clusterId: 'cluster' },
      onReport: (updates) => {
        for (const { taskId, status } of updates) {
          if (status !== undefined) this.#reported.add(`${host.name} ${taskId} ${status.state}`);
        }
      },
      onClosed: () => connections.delete(connection),
    });
    connections.add(connection);
    return connection;
  }

  // ---- both ----------------------------------------------------------------------------------

  #newProcess(name: string, skewMs: number): SimProcess {
    return new SimProcess(this.timeline, { name: `${name}#${++this.#starts}`, skewMs });
  }

  #logger(process: SimProcess) {
    const onError = (message: string): void => {
      if (process.isAlive && !isExpected(message))
        this.fail(new Violation('error-logged', message));
    };
    return this.trace.logger(process.name, onError);
  }

  #onCommit(commit: Commit): void {
    const who = commit.writer?.process.name ?? 'lease';
    for (const { kind, type, object } of commit.changes) {
      if (kind === 'task') this.#images.set(object.id, object.spec.containerSpec.image);
      if (kind !== 'task' || type === 'delete') {
        this.trace.add(`r${commit.revision} ${who} ${type} ${kind} ${object.id}`);
      } else {
        const { status, desiredState, nodeId, generation } = object;
        const name = `${object.serviceName}.${placeOf(object)}.${generation} v${object.specVersion}`;
        const states = `${status.state} (desired ${desiredState}) on "${nodeId}"`;
        const addresses = object.networksAttachments.flatMap((a) => a.addresses).join();
        this.trace.add(
          `r${commit.revision} ${who} ${name} ${object.id.slice(0, 6)} ${states} ${addresses} ${object.cause} · ${object.desiredReason} · ${status.message} ${status.err}`,
        );
      }
    }
    this.guarded(() => this.#hooks.onCommit(commit, this));
  }

  #fork(): Random {
    return seededRandom(Math.floor(this.random.next() * 2 ** 32));
  }
}

/** What managers and agents rightly call an error while others misbehave. */
function isExpected(message: string): boolean {
  return message.includes('Managers refused a task status');
}

/** m1 → 10.0.0.1, w1 → 10.0.1.1 */
function addressOf(name: string): string {
  return `10.0.${name.startsWith('m') ? 0 : 1}.${name.slice(1)}`;
}

function describe(host: SimHost): ReturnType<typeof aNode>['description'] {
  return aNode({
    id: host.name,
    description: {
      hostname: host.name,
      platform: { architecture: 'amd64', os: 'linux' },
      resources: { nanoCpus: NANO_CPUS, memoryBytes: 4 * 1024 ** 3, pids: 1000 },
      engine: {},
      dataPathAddress: host.address,
      agentAddress: `${host.address}:4402`,
      underlayMtuBytes: 1500,
    },
  }).description;
}
