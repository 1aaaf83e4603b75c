import { HatobaError } from '../../../common/errors.js';
import type { Clock } from '../../../common/clock.js';
import type { Task } from '../../../common/model/objects.js';
import type { Observation } from '../../../node-agent/core/task-machine.js';
import { FakeExecutor, FakeMachine } from '../../support/fake-executor.js';
import { lifeOf } from './images.js';
import type { AgentDisk, SimAgent } from './sim-agent.js';
import type { SimManager } from './sim-manager.js';
import type { SimProcess } from './process.js';
import type { StoreClient } from './store-client.js';
import type { SimDispatcher } from './wire.js';

/** What each machine has. */
export const NANO_CPUS = 4e9;

/** A process of a host, with what dies with it. */
export interface RunningManager {
  readonly process: SimProcess;
  readonly manager: SimManager;
  readonly store: StoreClient;
}
export interface RunningAgent {
  readonly process: SimProcess;
  readonly agent: SimAgent;
  readonly connections: Set<SimDispatcher>;
}

/** One machine: its disk and containers, and the processes that come and go on it. */
export class SimHost {
  readonly name: string;
  readonly address: string;
  readonly isManager: boolean;
  readonly machine = new FakeMachine();
  readonly disk: AgentDisk;
  isOn = true;
  /** Off for good. */
  isDead = false;
  manager: RunningManager | undefined;
  agent: RunningAgent | undefined;
  /** Until then (simulated time) whatever the executor does fails. */
  brokenUntilMs = 0;

  constructor(options: { name: string; address: string; isManager: boolean; managers: string[] }) {
    this.name = options.name;
    this.address = options.address;
    this.isManager = options.isManager;
    this.disk = { tasks: new Map(), networks: undefined, managers: options.managers };
  }

  /** Task ids of the containers that run here. */
  running(): string[] {
    return this.machine.running();
  }

  /** The machine loses its power: what ran has ended, what is on disk stays. */
  losePower(): void {
    this.isOn = false;
    this.machine.listeners.clear();
    for (const taskId of this.running()) this.machine.exit(taskId, 255);
  }
}

/** Does what the image of a task says, fails while the host is broken, and lies where the image does. */
export class SimExecutor extends FakeExecutor {
  readonly #host: SimHost;
  readonly #process: SimProcess;
  readonly #onStarted: (task: Task) => void;

  constructor(
    host: SimHost,
    modules: {
      process: SimProcess;
      machineClock: Clock;
      imageOf: (taskId: string) => string;
      /** A container runs. */
      onStarted: (task: Task) => void;
    },
  ) {
    const { imageOf, machineClock, process } = modules;
    super({
      ...{ clock: process, machineClock, machine: host.machine },
      scriptOf: (taskId) => lifeOf(imageOf(taskId)).script,
    });
    this.#host = host;
    this.#process = process;
    this.#onStarted = modules.onStarted;
  }

  override async prepare(task: Task, signal: AbortSignal): Promise<void> {
    this.#check();
    await super.prepare(task, signal);
  }

  override async start(task: Task): Promise<Observation> {
    this.#check();
    const wasRunning = this.#isRunning(task.id);
    const seen = await super.start(task);
    if (!wasRunning && this.#isRunning(task.id)) this.#onStarted(task);
    if (lifeOf(task.spec.containerSpec.image).lies === true) {
      throw new HatobaError('internal', 'the container did not start');
    }
    return seen;
  }

  override async shutdown(task: Task): Promise<Observation> {
    this.#check();
    return await super.shutdown(task);
  }

  override async remove(taskId: string): Promise<void> {
    this.#check();
    await super.remove(taskId);
  }

  #isRunning(taskId: string): boolean {
    return this.machine.containers.get(taskId)?.status === 'running';
  }

  #check(): void {
    if (this.#process.nowMs() < this.#host.brokenUntilMs) {
      throw new HatobaError('unavailable', 'the engine of this host does not work now');
    }
  }
}
