import { existsSync, readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import { decideRestart } from '../core/restart-policy.js';
import { containerEvent } from '../events/container-event.js';
import type { EventSink } from '../events/event-bus.js';
import type { ContainerPaths } from './paths.js';
import { isAlive, zombieExitCode } from './process-identity.js';
import type { ContainerRegistry } from './registry.js';
import { hasProcess, type ContainerEntry } from './record.js';

const SWEEP_MS = 2000;
/** As Docker shows a container whose exit nobody saw. */
const UNKNOWN_EXIT = 255;

export interface ExitModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  cgroups: Pick<CgroupFs, 'oomKills'>;
  events: EventSink;
  clock: Clock;
  log: Logger;
  bootId: string;
}

interface Exit {
  exitCode: number;
  atMs: number;
}

/**
 * Learns of exits: conmon leaves the exit code in a file, the kernel tells of the file. A slow sweep
 * finds containers whose conmon was killed, and anything a lost notification hid. A container whose
 * conmon was killed runs on; its exit code is then unknown, unless nobody has collected it yet.
 *
 * The exit and what the restart rule makes of it are one change of state, so that neither a crash
 * nor anybody who listens finds a container that has exited and is to be restarted.
 */
export class ExitWatcher implements Disposable {
  readonly #modules: ExitModules;
  #watcher: FSWatcher | undefined;
  #cancelSweep: () => void = () => undefined;

  constructor(modules: ExitModules) {
    this.#modules = modules;
  }

  /** Watches from now on, then looks at every container once: no exit falls in between. */
  start(): void {
    const { paths, log } = this.#modules;
    this.#watcher = watch(paths.exits, (_, name) => {
      if (name !== null) this.#guard(() => this.check(name));
    });
    this.#watcher.on('error', (error) => {
      log.warn('Watch of container exits failed; the sweep goes on', {}, error);
    });
    this.#sweep();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#cancelSweep();
  }

  /** Records the exit of a container if it has ended. */
  check(id: string): void {
    const entry = this.#modules.registry.get(id);
    if (entry === undefined || !hasProcess(entry)) return;
    const exit = this.#findExit(entry);
    if (exit === 'none') {
      this.#checkMemory(entry);
    } else if (exit !== 'unseen') {
      this.#record(entry, exit);
    } else if (entry.status.status === 'created') {
      // A reboot took the process that waited to be started; a start makes another one.
      this.#modules.registry.note(id, { process: undefined, conmon: undefined });
    } else {
      this.#modules.log.warn('Container ended unseen', { containerId: id });
      this.#record(entry, { exitCode: UNKNOWN_EXIT, atMs: this.#modules.clock.nowMs() });
    }
  }

  #findExit({ record, status }: ContainerEntry): Exit | 'none' | 'unseen' {
    const { bootId, clock } = this.#modules;
    const { id } = record.config;
    const told = this.#readExit(id);
    if (told !== undefined) return told;
    if (status.conmon !== undefined && isAlive(status.conmon, bootId)) return 'none';
    if (status.process !== undefined && isAlive(status.process, bootId)) {
      const exitCode = zombieExitCode(status.process.pid);
      return exitCode === undefined ? 'none' : { exitCode, atMs: clock.nowMs() };
    }
    // It may have ended between the two looks.
    return this.#readExit(id) ?? 'unseen';
  }

  #record({ record, status }: ContainerEntry, exit: Exit): void {
    const { registry, events } = this.#modules;
    const { exitCode } = exit;
    const atMs = Math.max(exit.atMs, status.startedAtMs ?? 0); // a file's time is a tick behind
    const { id } = record.config;
    const oomKilled = status.oomKilled || this.#wasShortOfMemory(record);
    const decision = decideRestart(
      status.startedAtMs === undefined ? undefined : record.config.restart,
      {
        exitCode,
        ranMs: atMs - (status.startedAtMs ?? atMs),
        isStoppedByHand: status.isStoppedByHand,
        restartCount: status.restartCount,
        backoffMs: status.backoffMs,
      },
    );
    const change = decision.restart
      ? { status: 'restarting' as const, backoffMs: decision.backoffMs }
      : { status: 'exited' as const };
    registry.update(id, { ...change, exitCode, finishedAtMs: atMs, oomKilled }, 'exited');
    if (oomKilled && !status.oomKilled) events.emit(containerEvent(record, 'oom'));
    events.emit(containerEvent(record, 'die', { exitCode: String(exitCode) }));
  }

  /** A process of a container may be killed for want of memory while the container lives on. */
  #checkMemory({ record, status }: ContainerEntry): void {
    const { paths, registry, events } = this.#modules;
    const { id } = record.config;
    if (status.oomKilled || !existsSync(paths.of(id).oomFlag)) return;
    registry.update(id, { oomKilled: true }, 'updated');
    events.emit(containerEvent(record, 'oom'));
  }

  #wasShortOfMemory({ config, cgroupPath }: ContainerEntry['record']): boolean {
    const { paths, cgroups } = this.#modules;
    return existsSync(paths.of(config.id).oomFlag) || cgroups.oomKills(cgroupPath) > 0;
  }

  #readExit(id: string): Exit | undefined {
    const file = this.#modules.paths.exitOf(id);
    try {
      const text = readFileSync(file, 'utf8').trim();
      // A power cut may leave the file without its text, which must not read as success.
      const exitCode = /^\d+$/.test(text) ? Number(text) & 0xff : UNKNOWN_EXIT;
      return { exitCode, atMs: Math.round(statSync(file).mtimeMs) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #sweep(): void {
    for (const { record } of this.#modules.registry.list()) {
      this.#guard(() => this.check(record.config.id));
    }
    this.#cancelSweep = this.#modules.clock.setTimer(SWEEP_MS, () => {
      this.#sweep();
    });
  }

  /** A disk that is full must not end the watch. */
  #guard(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#modules.log.error('Recording a container exit failed', {}, error);
    }
  }
}
