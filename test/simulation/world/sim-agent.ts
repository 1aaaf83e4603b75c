import { HatobaError } from '../../../common/errors.js';
import type { Logger } from '../../../common/logger.js';
import type { Task } from '../../../common/model/objects.js';
import type { Random } from '../../../common/random.js';
import type { NodeDescription } from '../../../common/model/objects.js';
import {
  NetworkApplier,
  type NetworkApplierModules,
} from '../../../node-agent/executor/network-applier.js';
import type { Executor } from '../../../node-agent/executor/executor.js';
import type { ConnectDispatcher } from '../../../node-agent/session/dispatcher.js';
import { Session } from '../../../node-agent/session/session.js';
import { StatusReporter } from '../../../node-agent/session/status-reporter.js';
import type { KeptNetworks } from '../../../node-agent/state/network-file.js';
import { AssignmentSink } from '../../../node-agent/worker/assignment-sink.js';
import { Worker } from '../../../node-agent/worker/worker.js';
import type { SimProcess } from './process.js';

/** What is on a node's disk. */
export interface AgentDisk {
  readonly tasks: Map<string, Task>;
  networks: KeptNetworks | undefined;
  managers: readonly string[];
}

export interface AgentModules {
  readonly process: SimProcess;
  readonly random: Random;
  readonly logger: Logger;
  readonly executor: Executor;
  readonly disk: AgentDisk;
  readonly connect: ConnectDispatcher;
  readonly describe: () => NodeDescription;
  /** Milliseconds that the next application of the networks takes. */
  readonly networkEffortMs: () => number;
  readonly onFatal: (error: unknown) => void;
}

/** The parts of an agent as node-agent/agent.ts puts them together, without sockets, engine and kernel. */
export class SimAgent {
  readonly #nodeId: string;
  readonly #modules: AgentModules;
  #session: Session | undefined;
  #worker: Worker | undefined;

  constructor(options: { nodeId: string }, modules: AgentModules) {
    this.#nodeId = options.nodeId;
    this.#modules = modules;
  }

  get isConnected(): boolean {
    return this.#session?.isConnected ?? false;
  }

  async run(): Promise<void> {
    const { process: clock, random, logger: log, disk, executor, onFatal } = this.#modules;
    const reporter = new StatusReporter({ clock, random, log });
    const networks = this.#networks();
    const worker = new Worker({
      ...{ executor, clock, random, log, onFatal },
      db: this.#taskDb(),
      networkWait: (task) => networks.waitOf(task),
      withdraw: (taskId) => networks.withdraw(taskId),
      onStatus: (taskId, status) => reporter.report(taskId, status),
    });
    this.#worker = worker;
    if (disk.networks !== undefined) networks.resume(disk.networks.revision, disk.networks.state);
    const tasks = await worker.start();
    const sink = new AssignmentSink({ nodeId: this.#nodeId, tasks }, { worker, networks, log });
    this.#session = new Session({
      ...{ clock, random, log, reporter },
      connect: this.#modules.connect,
      managers: this.#managers(),
      describe: () => Promise.resolve(this.#modules.describe()),
      statuses: () => worker.statuses(),
      appliedNetworkRevision: () => networks.shownRevision,
      onAssignments: (message) => sink.receive(message),
    });
    await this.#session.run(new AbortController().signal);
  }

  /** An orderly end: the managers are told, containers go on. */
  async leave(): Promise<void> {
    await this.#session?.leave();
  }

  #networks(): NetworkApplier {
    const { process: clock, random, logger: log, disk, networkEffortMs } = this.#modules;
    const late: { session: () => Session | undefined; worker: () => Worker | undefined } = {
      session: () => this.#session,
      worker: () => this.#worker,
    };
    const driver: NetworkApplierModules['driver'] = {
      apply: async () => {
        await this.#takes(networkEffortMs());
        if (random.next() < 0.01) throw new HatobaError('internal', 'the kernel said no');
      },
      leavingDone: () => Promise.resolve(),
      endStaleConnections: () => Promise.resolve(),
    };
    return new NetworkApplier(
      { nodeId: this.#nodeId, needsCluster: disk.networks === undefined },
      {
        ...{ driver, clock, random, log },
        localPart: () => ({ networks: [], endpoints: [] }),
        keep: (wanted) => {
          disk.networks = wanted;
          return Promise.resolve();
        },
        onChange: () => late.worker()?.networksChanged(),
        onShown: () => late.session()?.onNetworkApplied(),
      },
    );
  }

  #taskDb(): {
    load(): Promise<Task[]>;
    put(task: Task): Promise<void>;
    delete(id: string): Promise<void>;
  } {
    const { disk, random } = this.#modules;
    const written = (write: () => void): Promise<void> =>
      this.#takes(random.next() < 0.95 ? 1 : 100).then(write);
    return {
      load: () => Promise.resolve([...disk.tasks.values()]),
      put: (task) => written(() => disk.tasks.set(task.id, task)),
      delete: (id) => written(() => disk.tasks.delete(id)),
    };
  }

  #managers(): { addresses(): string[]; learn(addresses: readonly string[]): Promise<void> } {
    const { disk } = this.#modules;
    return {
      addresses: () => [...disk.managers],
      learn: (addresses) => {
        disk.managers = addresses;
        return Promise.resolve();
      },
    };
  }

  #takes(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#modules.process.setTimer(ms, resolve);
    });
  }
}
