import { HatobaError } from '../../common/errors.js';
import type { Task } from '../../common/model/objects.js';
import type { TemplateNode } from '../../common/template/task-templates.js';
import type { NetworkDriver, SandboxConfig } from '../../overlay-net/driver.js';
import type { ContainerConfig, ContainerState, Engine } from '../../runtime/engine.js';
import type { Observation } from '../core/task-machine.js';
import {
  addressesOf,
  expandTask,
  TASK_ID_LABEL,
  toContainerConfig,
  toSandboxConfig,
  type TaskNetwork,
} from './container-config.js';
import type { Executor, WatchedFor } from './executor.js';
import { containerOfSandbox } from '../local/attachment.js';
import { Semaphore } from './semaphore.js';

export interface ContainerExecutorModules {
  readonly engine: Pick<Engine, 'images' | 'containers'>;
  readonly driver: Pick<NetworkDriver, 'attach' | 'detach' | 'list' | 'openConnections'>;
  /** Driver of a network of this node ("overlay", "host" …), by network id. */
  readonly driverOf: (networkId: string) => string | undefined;
  /** Runs `attach` unless a container of this node alone has one of these ports: then throws. */
  readonly withHostPorts: <T>(
    ports: SandboxConfig['hostPorts'],
    attach: () => Promise<T>,
  ) => Promise<T>;
}

const DEFAULT_GRACE_MS = 10_000;
/** Containers created at the same time: more gains nothing on the cores that are there. */
const PARALLEL_CREATES = 8;

/** Runs tasks as containers of runtime/ in sandboxes of overlay-net/; both by the task's id. */
export class ContainerExecutor implements Executor, AsyncDisposable {
  readonly #modules: ContainerExecutorModules;
  /** Its name is also that of containers on the host's own network. */
  readonly #node: TemplateNode;
  readonly #creates = new Semaphore(PARALLEL_CREATES);
  /** Sandboxes of a former process whose task may not have got its container. */
  readonly #leftovers: Set<string>;
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #unsubscribe: () => void;

  private constructor(
    options: { node: TemplateNode; leftovers: Set<string> },
    modules: ContainerExecutorModules,
  ) {
    this.#modules = modules;
    this.#node = options.node;
    this.#leftovers = options.leftovers;
    this.#unsubscribe = modules.engine.containers.onEvent((event) => {
      for (const notify of this.#watchers.get(event.id) ?? []) notify();
    });
  }

  static async create(
    node: TemplateNode,
    modules: ContainerExecutorModules,
  ): Promise<ContainerExecutor> {
    const sandboxes = await modules.driver.list();
    const leftovers = new Set(sandboxes.map((s) => s.id));
    return new ContainerExecutor({ node, leftovers }, modules);
  }

  async prepare(task: Task, signal: AbortSignal): Promise<void> {
    if (this.#containers.get(task.id) !== undefined) return;
    await this.#ensureImage(task.spec.containerSpec.image, signal);
    await this.#creates.run(signal, () => this.#createContainer(expandTask(task, this.#node)));
  }

  async start(task: Task): Promise<Observation> {
    const state = this.#containers.get(task.id);
    if (state?.status !== 'created') return toObservation(state);
    return toObservation(await this.#containers.start(task.id));
  }

  async watch(task: Task, until: WatchedFor, signal: AbortSignal): Promise<Observation> {
    for (;;) {
      signal.throwIfAborted();
      const state = this.#containers.get(task.id);
      if (isReached(state, until)) return toObservation(state);
      await this.#nextEvent(task.id, signal);
    }
  }

  openConnections(task: Task): Promise<number> {
    return this.#modules.driver.openConnections(addressesOf(task));
  }

  async shutdown(task: Task): Promise<Observation> {
    const state = this.#containers.get(task.id);
    if (state?.status === 'created') {
      await this.#containers.remove(task.id, { force: true });
      return { status: 'missing' };
    }
    if (!isAlive(state)) return toObservation(state);
    const graceMs = task.spec.containerSpec.stopGracePeriodMs ?? DEFAULT_GRACE_MS;
    return toObservation(await this.#containers.stop(task.id, { graceMs }));
  }

  async release(taskId: string): Promise<void> {
    const state = this.#containers.get(taskId);
    if (state?.status === 'created') await this.#containers.remove(taskId, { force: true });
    if (isAlive(state)) await this.#containers.stop(taskId, { graceMs: 0 });
    await this.#detach(taskId);
  }

  async remove(taskId: string): Promise<void> {
    await this.#containers.remove(taskId, { force: true });
    await this.#detach(taskId);
  }

  async list(): Promise<string[]> {
    const containers = this.#containers.list();
    const others = new Set<string>();
    const ids = new Set<string>();
    for (const { config } of containers) {
      (config.labels[TASK_ID_LABEL] === config.id ? ids : others).add(config.id);
    }
    for (const { id } of await this.#modules.driver.list()) {
      if (!others.has(id) && containerOfSandbox(id) === undefined) ids.add(id);
    }
    return [...ids].sort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    return Promise.resolve();
  }

  get #containers(): Engine['containers'] {
    return this.#modules.engine.containers;
  }

  async #ensureImage(reference: string, signal: AbortSignal): Promise<void> {
    const { images } = this.#modules.engine;
    if ((await images.find(reference)) === undefined) await images.pull(reference, { signal });
  }

  async #createContainer(task: Task): Promise<void> {
    const network = await this.#attach(task);
    try {
      await this.#createRunnable(toContainerConfig(task, network));
    } catch (error) {
      await this.#detach(task.id);
      throw error;
    }
  }

  /** Nobody copies a missing command into the container of a task; so there is no use in waiting. */
  async #createRunnable(config: ContainerConfig): Promise<void> {
    const { error } = await this.#containers.create(config);
    if (error === '') return;
    await this.#containers.remove(config.id);
    throw new HatobaError('failed-precondition', error);
  }

  async #attach(task: Task): Promise<TaskNetwork> {
    const { driver, driverOf, withHostPorts } = this.#modules;
    const config = toSandboxConfig(task, driverOf);
    if (config === undefined) return { type: 'host', hostname: this.#node.hostname };
    if (this.#leftovers.has(task.id)) await this.#detach(task.id);
    const sandbox = await withHostPorts(config.hostPorts, () => driver.attach(config));
    return { type: 'sandbox', sandbox };
  }

  async #detach(taskId: string): Promise<void> {
    await this.#modules.driver.detach(taskId);
    this.#leftovers.delete(taskId);
  }

  #nextEvent(taskId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        signal.removeEventListener('abort', onAbort);
        this.#unwatch(taskId, onEvent);
      };
      const onEvent = (): void => {
        end();
        resolve();
      };
      const onAbort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      const watchers = this.#watchers.get(taskId) ?? new Set();
      this.#watchers.set(taskId, watchers.add(onEvent));
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #unwatch(taskId: string, notify: () => void): void {
    const watchers = this.#watchers.get(taskId);
    watchers?.delete(notify);
    if (watchers?.size === 0) this.#watchers.delete(taskId);
  }
}

function isReached(state: ContainerState | undefined, until: WatchedFor): boolean {
  if (!isAlive(state)) return true;
  if (until === 'exited') return false;
  if (state.health === 'unhealthy') return true;
  return until === 'healthy' && state.health !== 'starting';
}

function isAlive(state: ContainerState | undefined): state is ContainerState {
  return state?.status === 'running' || state?.status === 'paused';
}

function toObservation(state: ContainerState | undefined): Observation {
  switch (state?.status) {
    case undefined:
    case 'created':
      return { status: 'missing' };
    case 'running':
    case 'paused': {
      const { pid, health, healthOutput } = state;
      return { status: 'running', containerId: state.config.id, pid, health, healthOutput };
    }
    case 'restarting': // never a task's: the cluster itself starts another one
    case 'exited':
      return {
        status: 'exited',
        containerId: state.config.id,
        exitCode: state.exitCode ?? 255,
        oomKilled: state.oomKilled,
      };
  }
}
