import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import type { Freezer } from '../cgroup/freezer.js';
import { checkRestartRule } from '../core/restart-policy.js';
import { parseSignal } from '../../common/model/signals.js';
import type {
  AttachOptions,
  AttachSession,
  ContainerConfig,
  ContainerEvent,
  ContainerProcess,
  Containers,
  ContainerState,
  ContainerStats,
  ExecOptions,
  ExecSession,
  LogLine,
  PathChange,
  PathStat,
  Pruned,
  RestartRule,
} from '../engine.js';
import { containerEvent } from '../events/container-event.js';
import type { EventSink } from '../events/event-bus.js';
import type { Attachments } from '../exec/attachments.js';
import type { Execs } from '../exec/exec.js';
import type { ContainerTrees } from '../files/container-trees.js';
import { readLog, type LogQuery } from '../log/log-reader.js';
import type { StatsReader } from '../stats/container-stats.js';
import type { Background } from './background.js';
import { createContainer, type CreateModules } from './create.js';
import type { ExitWatcher } from './exits.js';
import type { KeyedMutex } from '../../common/keyed-mutex.js';
import type { LimitUpdates } from './limit-updates.js';
import type { ContainerPaths } from './paths.js';
import { pauseContainer, unpauseContainer } from './pause.js';
import { pruneContainers, type PruneOptions } from './prune.js';
import { isEnded, toContainerState, writeRemoval, type ContainerEntry } from './record.js';
import type { ContainerRegistry } from './registry.js';
import type { Starter } from './start.js';
import type { Stopper } from './stop.js';
import type { Teardown } from './teardown.js';
import { waitForExit } from './wait.js';

export interface ContainersModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  exits: ExitWatcher;
  starter: Starter;
  stopper: Stopper;
  teardown: Teardown;
  freezer: Freezer;
  limits: LimitUpdates;
  stats: StatsReader;
  execs: Execs;
  attachments: Attachments;
  trees: ContainerTrees;
  events: EventSink;
  clock: Clock;
  create: CreateModules;
  /** Creation, start and removal of one container never overlap. */
  mutex: KeyedMutex;
  background: Background;
}

/** Containers by crun and conmon; see the port for the contract. */
export class LinuxContainers implements Containers {
  readonly #modules: ContainersModules;
  /** Those that end only to be started again by somebody's wish. */
  readonly #restarting = new Set<string>();

  constructor(modules: ContainersModules) {
    this.#modules = modules;
    modules.registry.onEvent(({ id, type }) => {
      if (type === 'exited') this.#clearUp(id);
    });
  }

  /** Removes those that were to be removed at an end that came while no engine was there. */
  takeUp(): void {
    for (const entry of this.#modules.registry.list()) {
      if (isEnded(entry) && this.#isToGo(entry)) this.#clearUp(entry.record.config.id);
    }
  }

  create(config: ContainerConfig): Promise<ContainerState> {
    return this.#mutex.run(config.id, async () => {
      const { registry, exits } = this.#modules;
      registry.takeName(config.name, config.id);
      try {
        const { images } = this.#modules.create;
        await images.keepDuring(config.spec.image, config.name, async () => {
          registry.add(await createContainer(config, this.#modules.create));
        });
      } catch (error) {
        if (registry.get(config.id) === undefined) registry.freeName(config.name, config.id);
        throw error;
      }
      registry.announce(config.id);
      exits.check(config.id);
      return this.#state(config.id);
    });
  }

  start(id: string): Promise<ContainerState> {
    return this.#mutex.run(id, async () => {
      await this.#modules.starter.start(id);
      const state = this.#state(id);
      this.#modules.exits.check(id);
      return state;
    });
  }

  stop(id: string, options: { graceMs?: number; signal?: string } = {}): Promise<ContainerState> {
    return this.#modules.stopper.stop(id, options);
  }

  async restart(
    id: string,
    options: { graceMs?: number; signal?: string } = {},
  ): Promise<ContainerState> {
    const { events, registry } = this.#modules;
    this.#restarting.add(id);
    try {
      await this.stop(id, options);
      const state = await this.start(id);
      events.emit(containerEvent(registry.mustGet(id).record, 'restart'));
      return state;
    } finally {
      this.#restarting.delete(id);
      // It was not to go at its end: only now is it clear that no start has followed.
      const entry = registry.get(id);
      if (entry !== undefined && isEnded(entry) && this.#isToGo(entry)) this.#clearUp(id);
    }
  }

  kill(id: string, signal: string): Promise<void> {
    this.#modules.stopper.signal(id, parseSignal(signal));
    return Promise.resolve();
  }

  pause(id: string): Promise<ContainerState> {
    return this.#mutex.run(id, async () => {
      await pauseContainer(id, this.#modules);
      return this.#state(id);
    });
  }

  unpause(id: string): Promise<ContainerState> {
    return this.#mutex.run(id, () => {
      unpauseContainer(id, this.#modules);
      return this.#state(id);
    });
  }

  rename(id: string, name: string): Promise<ContainerState> {
    return this.#mutex.run(id, () => {
      this.#modules.registry.updateConfig(id, { name }, 'renamed');
      return this.#state(id);
    });
  }

  update(id: string, change: { limits?: Limit; restart?: RestartRule }): Promise<ContainerState> {
    return this.#mutex.run(id, async () => {
      const { registry, limits } = this.#modules;
      const entry = registry.mustGet(id);
      checkRestartRule(change.restart, entry.record.config.autoRemove === true);
      if (change.limits !== undefined) await limits.apply(entry, change.limits);
      registry.updateConfig(id, change, 'updated');
      const isWaiting = registry.mustGet(id).status.status === 'restarting';
      if (isWaiting && change.restart?.name === 'no') {
        registry.update(id, { status: 'exited' }, 'exited');
      }
      return this.#state(id);
    });
  }

  remove(id: string, options: { force?: boolean; keepVolumes?: boolean } = {}): Promise<void> {
    return this.#mutex.run(id, async () => {
      const { paths, registry, stopper, teardown } = this.#modules;
      const entry = registry.get(id);
      if (entry === undefined) return;
      const { status } = entry.status;
      if (status !== 'exited' && status !== 'created' && options.force !== true) {
        throw new HatobaError(
          'failed-precondition',
          `container ${id} is ${status}; stop it first, or remove it by force`,
        );
      }
      await stopper.kill(id);
      writeRemoval(paths.of(id), options);
      await teardown.all(id, entry.record, options);
      registry.delete(id);
      teardown.leaveGroup(entry.record);
    });
  }

  prune(options: PruneOptions): Promise<Pruned> {
    return pruneContainers(options, this.#modules.clock.nowMs(), this);
  }

  get(id: string): ContainerState | undefined {
    const entry = this.#modules.registry.get(id);
    return entry === undefined ? undefined : toContainerState(entry);
  }

  find(nameOrId: string): ContainerState {
    return toContainerState(this.#modules.registry.find(nameOrId));
  }

  list(): ContainerState[] {
    return this.#modules.registry
      .list()
      .map(toContainerState)
      .toSorted((a, b) => (a.config.id < b.config.id ? -1 : 1));
  }

  async wait(id: string, signal?: AbortSignal): Promise<ContainerState> {
    return waitForExit(this.#modules.registry, id, signal);
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    return this.#modules.registry.onEvent(listener);
  }

  async exec(id: string, options: ExecOptions): Promise<ExecSession> {
    const { registry, execs, events } = this.#modules;
    const { record } = mustRun(registry.mustGet(id));
    const session = await execs.start(record, options);
    events.emit(containerEvent(record, `exec_start: ${options.command.join(' ')}`));
    const tellEnd = (exitCode: number): void =>
      events.emit(containerEvent(record, 'exec_die', { exitCode: String(exitCode) }));
    session.exitCode.then(tellEnd, () => undefined); // a failure is for whoever has the session
    return session;
  }

  attach(id: string, options: AttachOptions): Promise<AttachSession> {
    return this.#modules.attachments.attach(id, options);
  }

  stats(id: string): Promise<ContainerStats | undefined> {
    return Promise.resolve(this.#modules.stats.read(this.#modules.registry.mustGet(id)));
  }

  top(id: string): Promise<ContainerProcess[]> {
    return Promise.resolve(this.#modules.stats.processes(this.#modules.registry.mustGet(id)));
  }

  setGroupLimits(group: string, limits: Limit): Promise<void> {
    return this.#modules.create.groupLimits.set(group, limits);
  }

  async *logs(id: string, options: LogQuery, signal?: AbortSignal): AsyncIterable<LogLine> {
    const { registry, paths, clock } = this.#modules;
    const { name, log } = registry.mustGet(id).record.config;
    if (log.driver === 'none') {
      throw new HatobaError(
        'failed-precondition',
        `container ${name} keeps no logs: it was made with the log driver "none"`,
      );
    }
    const hasEnded = (): boolean =>
      (registry.get(id)?.status.status ?? 'exited') === 'exited' && !this.#restarting.has(id);
    const source = {
      log: paths.of(id).log,
      hasEnded,
      onEnd: (listener: () => void) =>
        registry.onEvent((event) => {
          if (event.id === id && hasEnded()) listener();
        }),
    };
    yield* readLog(source, options, clock, signal);
  }

  sizeRw(id: string): Promise<number> {
    return this.#modules.trees.sizeRw(this.#modules.registry.mustGet(id));
  }

  async copyFrom(
    id: string,
    path: string,
    options: { followLink: boolean; signal?: AbortSignal },
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    return this.#modules.trees.copyFrom(this.#modules.registry.mustGet(id), path, options);
  }

  async copyTo(
    id: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { copyOwners: boolean; signal?: AbortSignal },
  ): Promise<void> {
    await this.#modules.trees.copyTo(this.#modules.registry.mustGet(id), path, tar, options);
  }

  async *export(id: string, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    yield* this.#modules.trees.export(this.#modules.registry.mustGet(id), signal);
  }

  async diff(id: string): Promise<PathChange[]> {
    return this.#modules.trees.diff(this.#modules.registry.mustGet(id));
  }

  get #mutex(): KeyedMutex {
    return this.#modules.mutex;
  }

  #state(id: string): ContainerState {
    return toContainerState(this.#modules.registry.mustGet(id));
  }

  /** Takes away what the run of a container has left that has ended, or all of it where wanted. */
  #clearUp(id: string): void {
    const { background, registry, teardown } = this.#modules;
    background.run('Clearing up after a container', id, async () => {
      const entry = registry.get(id);
      if (entry?.status.status === 'exited' && this.#isToGo(entry)) {
        await this.remove(id);
        return;
      }
      await this.#mutex.run(id, async () => {
        const now = registry.get(id);
        if (now !== undefined && isEnded(now)) await teardown.run(id, now.record);
      });
    });
  }

  #isToGo({ record, status }: ContainerEntry): boolean {
    const wasStarted = status.startedAtMs !== undefined;
    const { id, autoRemove } = record.config;
    return autoRemove === true && wasStarted && !this.#restarting.has(id);
  }
}

/** @throws {HatobaError} failed-precondition */
export function mustRun(entry: ContainerEntry): ContainerEntry {
  const { status } = entry.status;
  if (status === 'running') return entry;
  const { name } = entry.record.config;
  throw new HatobaError(
    'failed-precondition',
    status === 'paused'
      ? `container ${name} is paused; unpause it first`
      : `container ${name} is not running (${status})`,
  );
}
