import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import { parseSignal } from '../core/signals.js';
import type {
  ContainerConfig,
  ContainerEvent,
  Containers,
  ContainerState,
  ExecOptions,
  ExecSession,
  LogLine,
} from '../engine.js';
import type { Execs } from '../exec/exec.js';
import { readLog, type LogQuery } from '../log/log-reader.js';
import type { Crun } from '../oci/crun.js';
import { withDeadline } from '../oci/pipes.js';
import { createContainer, type CreateModules } from './create.js';
import type { ExitWatcher } from './exits.js';
import { KeyedMutex } from './keyed-mutex.js';
import type { ContainerPaths } from './paths.js';
import { signalProcess } from './process-identity.js';
import { toContainerState, type ContainerEntry } from './record.js';
import type { ContainerRegistry } from './registry.js';
import type { Teardown } from './teardown.js';

const DEFAULT_GRACE_MS = 10_000;
/** A killed process that is still there after this hangs in the kernel. */
const KILL_TIMEOUT_MS = 30_000;
const SIGKILL = 9;

export interface ContainersModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  exits: ExitWatcher;
  teardown: Teardown;
  execs: Execs;
  crun: Crun;
  clock: Clock;
  create: CreateModules;
  bootId: string;
}

/** Containers by crun and conmon; see the port for the contract. */
export class LinuxContainers implements Containers {
  readonly #modules: ContainersModules;
  /** Creation, start and removal of one container never overlap. */
  readonly #mutex = new KeyedMutex();

  constructor(modules: ContainersModules) {
    this.#modules = modules;
  }

  create(config: ContainerConfig): Promise<ContainerState> {
    return this.#mutex.run(config.id, async () => {
      const { registry, exits } = this.#modules;
      const entry = await createContainer(config, this.#modules.create);
      registry.add(entry);
      exits.check(config.id);
      return toContainerState(registry.mustGet(config.id));
    });
  }

  start(id: string): Promise<ContainerState> {
    return this.#mutex.run(id, async () => {
      const { registry, crun, clock, exits } = this.#modules;
      const { status } = registry.mustGet(id).status;
      if (status === 'exited') {
        throw new HatobaError(
          'failed-precondition',
          `container ${id} has exited; remove it and create it again`,
        );
      }
      if (status === 'created') {
        // By the fifo nothing can come between the start and the note of it.
        if (!crun.startByFifo(id)) await crun.start(id);
        if (registry.mustGet(id).status.status === 'created') {
          const { health } = registry.mustGet(id).record;
          registry.update(
            id,
            {
              status: 'running',
              startedAtMs: clock.nowMs(),
              health: health === undefined ? 'none' : 'starting',
            },
            'started',
          );
        }
        exits.check(id);
      }
      return toContainerState(registry.mustGet(id));
    });
  }

  async stop(id: string, options: { graceMs?: number } = {}): Promise<ContainerState> {
    const { registry, clock } = this.#modules;
    const { record, status } = registry.mustGet(id);
    if (status.status === 'exited') return toContainerState(registry.mustGet(id));
    const exited = new AbortController();
    const wait = this.wait(id, exited.signal);
    // Before its start no program is there that could hear the stop signal.
    const signal = status.status === 'created' ? SIGKILL : record.stopSignal;
    this.#signal(id, signal);
    const graceMs = options.graceMs ?? record.config.spec.stopGracePeriodMs ?? DEFAULT_GRACE_MS;
    const result = await withDeadline(clock, graceMs, wait, () => undefined);
    if (result !== 'timeout') return result.value;
    this.#signal(id, SIGKILL);
    const killed = await withDeadline(clock, KILL_TIMEOUT_MS, wait, () => undefined);
    if (killed !== 'timeout') return killed.value;
    wait.catch(() => undefined); // aborted by the next line, and nobody waits any more
    exited.abort();
    throw new HatobaError(
      'deadline',
      `container ${id} does not end: process ${status.process?.pid ?? 0} hangs in the kernel`,
    );
  }

  kill(id: string, signal: string): Promise<void> {
    const number = parseSignal(signal);
    const { status } = this.#modules.registry.mustGet(id).status;
    if (status === 'exited') {
      throw new HatobaError('failed-precondition', `container ${id} is not running`);
    }
    this.#signal(id, number);
    return Promise.resolve();
  }

  remove(id: string, options: { force?: boolean } = {}): Promise<void> {
    return this.#mutex.run(id, async () => {
      const { registry, teardown } = this.#modules;
      const entry = registry.get(id);
      if (entry === undefined) return;
      if (entry.status.status === 'running' && options.force !== true) {
        throw new HatobaError(
          'failed-precondition',
          `container ${id} is running; stop it first, or remove it by force`,
        );
      }
      if (entry.status.status !== 'exited') await this.stop(id, { graceMs: 0 });
      await teardown.all(id, entry.record);
      registry.delete(id);
      teardown.leaveGroup(entry.record);
    });
  }

  get(id: string): ContainerState | undefined {
    const entry = this.#modules.registry.get(id);
    return entry === undefined ? undefined : toContainerState(entry);
  }

  list(): ContainerState[] {
    return this.#modules.registry
      .list()
      .map(toContainerState)
      .toSorted((a, b) => (a.config.id < b.config.id ? -1 : 1));
  }

  wait(id: string, signal?: AbortSignal): Promise<ContainerState> {
    const { registry } = this.#modules;
    return new Promise((resolve, reject) => {
      const entry = registry.mustGet(id);
      if (entry.status.status === 'exited') {
        resolve(toContainerState(entry));
        return;
      }
      signal?.throwIfAborted();
      const onAbort = (): void => {
        end();
        reject(signal?.reason as Error);
      };
      const end = registry.onEvent((event) => {
        if (event.id !== id || event.type !== 'exited') return;
        end();
        signal?.removeEventListener('abort', onAbort);
        resolve(event.state);
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    return this.#modules.registry.onEvent(listener);
  }

  exec(id: string, options: ExecOptions): Promise<ExecSession> {
    return this.#modules.execs.start(mustRun(this.#modules.registry.mustGet(id)).record, options);
  }

  async *logs(id: string, options: LogQuery, signal?: AbortSignal): AsyncIterable<LogLine> {
    const { registry, paths, clock } = this.#modules;
    registry.mustGet(id);
    const source = {
      log: paths.of(id).log,
      hasEnded: () => (registry.get(id)?.status.status ?? 'exited') === 'exited',
      onEnd: (listener: () => void) =>
        registry.onEvent((event) => {
          if (event.id === id && event.type === 'exited') listener();
        }),
    };
    yield* readLog(source, options, clock, signal);
  }

  #signal(id: string, signal: number): void {
    const { registry, bootId } = this.#modules;
    const { process } = registry.mustGet(id).status;
    if (process !== undefined) signalProcess(process, signal, bootId);
  }
}

/** @throws {HatobaError} failed-precondition */
export function mustRun(entry: ContainerEntry): ContainerEntry {
  if (entry.status.status === 'running') return entry;
  throw new HatobaError(
    'failed-precondition',
    `container ${entry.record.config.id} is not running (${entry.status.status})`,
  );
}
