import type { Clock } from '../../common/clock.js';
import { isKind } from '../../common/errors.js';
import { Limiter } from '../content/limiter.js';
import { decideAtOpen, decideRestart, type RunEnd } from '../core/restart-policy.js';
import type { Background } from './background.js';
import type { KeyedMutex } from '../../common/keyed-mutex.js';
import type { ContainerEntry } from './record.js';
import type { ContainerRegistry } from './registry.js';
import { failureOf, type Starter } from './start.js';

/** After a reboot all may be due at once. */
const PARALLEL_RESTARTS = 8;

export interface RestartModules {
  registry: ContainerRegistry;
  starter: Pick<Starter, 'restartByRule'>;
  mutex: KeyedMutex;
  background: Background;
  clock: Clock;
}

/**
 * Starts containers again that their rule wants to run. When that is due follows from their state
 * on disk alone (end of the last run and wait), so an engine that takes over goes on with it.
 */
export class Restarts implements Disposable {
  readonly #modules: RestartModules;
  readonly #cancels = new Map<string, () => void>();
  readonly #limiter = new Limiter(PARALLEL_RESTARTS);
  readonly #unsubscribe: () => void;

  constructor(modules: RestartModules) {
    this.#modules = modules;
    this.#unsubscribe = modules.registry.onEvent(({ id, type, state }) => {
      if (state.status === 'restarting' && type !== 'removed') this.#schedule(id);
      else this.#forget(id);
    });
  }

  /** Takes up those that an earlier engine had to restart, and those that its end stopped. */
  start(): void {
    for (const entry of this.#modules.registry.list()) {
      const { id } = entry.record.config;
      if (entry.status.status === 'exited') this.#decideAtOpen(entry);
      else if (entry.status.status === 'restarting') this.#schedule(id);
    }
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    for (const id of [...this.#cancels.keys()]) this.#forget(id);
  }

  #decideAtOpen({ record, status }: ContainerEntry): void {
    if (status.startedAtMs === undefined) return;
    const decision = decideAtOpen(record.config.restart, endOf(status));
    if (!decision.restart) return;
    const { backoffMs } = decision;
    // Its end may be long ago: by that alone it would be due at once, like all others.
    const change = { status: 'restarting', backoffMs, isStoppedByHand: false } as const;
    this.#modules.registry.update(record.config.id, change, 'updated');
  }

  #schedule(id: string): void {
    if (this.#cancels.has(id)) return;
    const { registry, clock, mutex, background } = this.#modules;
    const { finishedAtMs = 0, backoffMs } = registry.mustGet(id).status;
    // A clock that was set back must not make it wait for longer than its wait.
    const delayMs = Math.min(backoffMs, Math.max(0, finishedAtMs + backoffMs - clock.nowMs()));
    const cancel = clock.setTimer(delayMs, () => {
      this.#cancels.delete(id);
      background.run('Restarting container', id, () =>
        this.#limiter.run(() => mutex.run(id, () => this.#restart(id))),
      );
    });
    this.#cancels.set(id, cancel);
  }

  #forget(id: string): void {
    this.#cancels.get(id)?.();
    this.#cancels.delete(id);
  }

  async #restart(id: string): Promise<void> {
    try {
      await this.#modules.starter.restartByRule(id);
    } catch (error) {
      // The engine is ending: its next one finds the container as it is, and goes on with it.
      if (isKind(error, 'cancelled')) return;
      this.#noteFailure(id, error);
      throw error;
    }
  }

  /**
   * A start that fails counts like a run that ended at once. One that could not be tried yet, as its
   * network is not there, counts as none: it is only waited for longer.
   */
  #noteFailure(id: string, error: unknown): void {
    const { registry, clock } = this.#modules;
    const entry = registry.get(id);
    if (entry?.status.status !== 'restarting') return;
    const before = endOf(entry.status);
    const wasTried = !isKind(error, 'unavailable');
    const failure = { ...failureOf(error), ...(!wasTried && { exitCode: before.exitCode }) };
    const restartCount = before.restartCount + (wasTried ? 1 : 0);
    const end = { ...before, ranMs: 0, exitCode: failure.exitCode, restartCount };
    const decision = decideRestart(entry.record.config.restart, end);
    const change = decision.restart
      ? { status: 'restarting' as const, backoffMs: decision.backoffMs }
      : { status: 'exited' as const };
    const finishedAtMs = clock.nowMs();
    registry.update(id, { ...change, ...failure, restartCount, finishedAtMs }, 'exited');
  }
}

function endOf(status: ContainerEntry['status']): RunEnd {
  const { exitCode = 0, startedAtMs = 0, finishedAtMs = 0 } = status;
  const { isStoppedByHand, restartCount, backoffMs } = status;
  const ranMs = Math.max(0, finishedAtMs - startedAtMs);
  return { exitCode, ranMs, isStoppedByHand, restartCount, backoffMs };
}
