import type { Clock } from '../../common/clock.js';
import { describeError, HatobaError } from '../../common/errors.js';
import { startFailureExitCode } from '../core/start-failure.js';
import type { ContainerConfig } from '../engine.js';
import { finishLog } from '../log/finish-log.js';
import type { Crun } from '../oci/crun.js';
import type { ExitWatcher } from './exits.js';
import { endRun, makeRun, type RunModules, type RunProcesses } from './make-run.js';
import { hasProcess, readRemoval, type ContainerEntry, type ContainerStatus } from './record.js';
import type { ContainerRegistry } from './registry.js';

export interface StartModules {
  registry: ContainerRegistry;
  exits: Pick<ExitWatcher, 'check'>;
  crun: Crun;
  clock: Clock;
  run: RunModules;
  beforeRestart: (config: ContainerConfig) => Promise<void>;
  /** Its process is there and waits. */
  beforeLetGo: (id: string) => Promise<void>;
}

/** Lets containers run: the process that waits since their creation, or a new one. */
export class Starter {
  readonly #modules: StartModules;

  constructor(modules: StartModules) {
    this.#modules = modules;
  }

  /**
   * Starts a container by hand; one that runs is left as it is. It may have ended again already,
   * which is for the caller to check.
   * @throws {HatobaError} what failed; it is in the container's state too
   */
  async start(id: string): Promise<void> {
    const { registry, exits } = this.#modules;
    if (registry.mustGet(id).status.status === 'created') exits.check(id);
    const { status } = registry.mustGet(id);
    if (status.status === 'running' || status.status === 'paused') return;
    const fresh = { isStoppedByHand: false, restartCount: 0, backoffMs: 0 };
    if (hasProcess(registry.mustGet(id))) {
      await this.#modules.beforeLetGo(id);
      await this.#letGo(id, fresh);
      return;
    }
    try {
      await this.#again(id, fresh, () => true);
    } catch (error) {
      registry.update(id, failureOf(error), 'updated');
      throw error;
    }
  }

  /**
   * Starts a container that waits to be restarted by its rule; nothing when it no longer does.
   * @throws {HatobaError} what failed
   */
  async restartByRule(id: string): Promise<void> {
    const { registry, exits } = this.#modules;
    const isDue = (): boolean => registry.get(id)?.status.status === 'restarting';
    if (!isDue()) return;
    const { restartCount } = registry.mustGet(id).status;
    await this.#again(id, { restartCount: restartCount + 1 }, isDue);
    exits.check(id);
  }

  /**
   * A new run on the same writable layer, volumes and log.
   * @param isWanted asked just before the process is let go; somebody may have changed their mind
   */
  async #again(
    id: string,
    change: Partial<ContainerStatus>,
    isWanted: () => boolean,
  ): Promise<void> {
    const { registry, run, clock, beforeRestart } = this.#modules;
    const { record } = registry.mustGet(id);
    if (readRemoval(run.paths.of(id)) !== undefined) {
      throw new HatobaError(
        'failed-precondition',
        `container ${record.config.name} is half removed; remove it again`,
      );
    }
    try {
      await beforeRestart(record.config);
      await endRun(record, run);
      await finishLog(record.logPath, clock.nowMs());
      const processes = await makeRun(record, { isFirst: false }, run);
      await this.#modules.beforeLetGo(id);
      if (isWanted()) await this.#letGo(id, { ...change, ...processes });
      else await endRun(record, run);
    } catch (error) {
      await endRun(record, run);
      throw error;
    }
  }

  async #letGo(
    id: string,
    change: Partial<ContainerStatus> & Partial<RunProcesses>,
  ): Promise<void> {
    const { registry, crun, clock } = this.#modules;
    const startedAtMs = clock.nowMs();
    // By the fifo nothing can come between the start and the note of it.
    if (!crun.startByFifo(id)) await crun.start(id);
    const entry = registry.mustGet(id);
    registry.update(id, { ...runningStatus(entry, startedAtMs), ...change }, 'started');
  }
}

function runningStatus({ record }: ContainerEntry, startedAtMs: number): Partial<ContainerStatus> {
  return {
    status: 'running',
    startedAtMs,
    health: record.health === undefined ? 'none' : 'starting',
    healthOutput: '',
    failingStreak: 0,
    exitCode: undefined,
    oomKilled: false,
    error: '',
  };
}

/** What a start that failed leaves in the state. */
export function failureOf(error: unknown): { error: string; exitCode: number } {
  const text = describeError(error);
  return { error: text, exitCode: startFailureExitCode(text) };
}
