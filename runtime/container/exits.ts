import { readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import type { ContainerPaths } from './paths.js';
import { isAlive } from './process-identity.js';
import type { ContainerRegistry } from './registry.js';
import type { ContainerEntry } from './record.js';

const SWEEP_MS = 2000;
const SIGKILL_EXIT = 128 + 9;
/** As Docker shows a container whose exit nobody saw. */
const UNKNOWN_EXIT = 255;

export interface ExitModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  cgroups: CgroupFs;
  clock: Clock;
  log: Logger;
  bootId: string;
}

/**
 * Learns of exits: conmon leaves the exit code in a file, the kernel tells of the file. A slow sweep
 * finds containers whose conmon was killed, and anything a lost notification hid.
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
    if (entry === undefined || entry.status.status === 'exited') return;
    const told = this.#readExit(id);
    if (told !== undefined) {
      this.#record(entry, told);
      return;
    }
    if (this.#isWatched(entry)) return;
    // It may have ended between the two looks.
    const late = this.#readExit(id);
    if (late === undefined) {
      this.#modules.log.warn('Container ended unseen', { containerId: id });
    }
    this.#record(entry, late ?? { exitCode: UNKNOWN_EXIT, atMs: this.#modules.clock.nowMs() });
  }

  #isWatched({ status }: ContainerEntry): boolean {
    const { bootId } = this.#modules;
    return [status.process, status.conmon].some((p) => p !== undefined && isAlive(p, bootId));
  }

  #record({ record }: ContainerEntry, exit: { exitCode: number; atMs: number }): void {
    const { registry, cgroups } = this.#modules;
    registry.update(
      record.config.id,
      {
        status: 'exited',
        exitCode: exit.exitCode,
        finishedAtMs: exit.atMs,
        oomKilled: exit.exitCode === SIGKILL_EXIT && cgroups.oomKills(record.cgroupPath) > 0,
      },
      'exited',
    );
  }

  #readExit(id: string): { exitCode: number; atMs: number } | undefined {
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
