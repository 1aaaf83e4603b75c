import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Freezer } from '../cgroup/freezer.js';
import { parseSignal } from '../../common/model/signals.js';
import type { ContainerState } from '../engine.js';
import { containerEvent } from '../events/container-event.js';
import type { EventSink } from '../events/event-bus.js';
import { withDeadline } from '../oci/pipes.js';
import type { ExitWatcher } from './exits.js';
import { isAlive, signalProcess } from './process-identity.js';
import { hasProcess, toContainerState, type ContainerEntry } from './record.js';
import type { ContainerRegistry } from './registry.js';
import { waitForExit } from './wait.js';

const DEFAULT_GRACE_MS = 10_000;
/** A killed process that is still there after this hangs in the kernel. */
const KILL_TIMEOUT_MS = 30_000;
/** How often to look at one whose exit nobody tells, since its conmon was killed. */
const LOOK_AGAIN_MS = 50;
export const SIGKILL = 9;

export interface StopModules {
  registry: ContainerRegistry;
  exits: Pick<ExitWatcher, 'check'>;
  freezer: Freezer;
  events: EventSink;
  clock: Clock;
  bootId: string;
}

/** Ends containers: by their stop signal, by force, or by whatever signal somebody sends. */
export class Stopper {
  readonly #modules: StopModules;

  constructor(modules: StopModules) {
    this.#modules = modules;
  }

  /**
   * Stop signal, then SIGKILL after the grace period (negative: never); returns when it has ended.
   * One that waits to be restarted, or was never started, does not run any more afterwards.
   * @throws {HatobaError} deadline for one that not even SIGKILL ends
   */
  async stop(
    id: string,
    options: { graceMs?: number; signal?: string } = {},
  ): Promise<ContainerState> {
    const { registry, events } = this.#modules;
    const { record, status } = registry.mustGet(id);
    const wanted = options.signal === undefined ? record.stopSignal : parseSignal(options.signal);
    this.#endWait(id);
    if (!hasProcess(registry.mustGet(id))) return toContainerState(registry.mustGet(id));
    // Before its start no program is there that could hear the stop signal.
    const signal = status.status === 'created' ? SIGKILL : wanted;
    const graceMs = options.graceMs ?? record.config.spec.stopGracePeriodMs ?? DEFAULT_GRACE_MS;
    const state = await this.#end(id, signal, graceMs);
    events.emit(containerEvent(record, 'stop'));
    return state;
  }

  /** SIGKILL, and back when it has ended; nor is it restarted by its rule. */
  async kill(id: string): Promise<void> {
    this.#endWait(id);
    if (hasProcess(this.#modules.registry.mustGet(id))) await this.#end(id, SIGKILL, 0);
  }

  /**
   * Sends a signal; SIGKILL and the stop signal also thaw a paused container, and keep the restart
   * rule from starting it again.
   * @throws {HatobaError} failed-precondition for one that does not run
   */
  signal(id: string, signal: number): void {
    const entry = this.#modules.registry.mustGet(id);
    const { record, status } = entry;
    if (status.status !== 'running' && status.status !== 'paused') {
      throw new HatobaError(
        'failed-precondition',
        `container ${id} is not running (${status.status})`,
      );
    }
    this.#deliver(entry, signal, signal === SIGKILL || signal === record.stopSignal);
  }

  /** Of one that waits to be restarted by its rule. */
  #endWait(id: string): void {
    const { registry } = this.#modules;
    if (registry.mustGet(id).status.status !== 'restarting') return;
    registry.update(id, { status: 'exited', isStoppedByHand: true }, 'exited');
  }

  /** @param isMeantToEnd thaws a paused one, and keeps the restart rule from starting it again */
  #deliver({ record, status }: ContainerEntry, signal: number, isMeantToEnd: boolean): void {
    const { registry, events, bootId, freezer } = this.#modules;
    const { id } = record.config;
    if (isMeantToEnd) registry.note(id, { isStoppedByHand: true });
    if (status.process !== undefined) signalProcess(status.process, signal, bootId);
    events.emit(containerEvent(record, 'kill', { signal: String(signal) }));
    if (!isMeantToEnd) return;
    // Only now can it hear the signal, and nothing else comes before that. Also for one that
    // somebody is about to pause.
    freezer.thaw(record.cgroupPath);
    if (status.status === 'paused') registry.update(id, { status: 'running' }, 'unpaused');
  }

  async #end(id: string, signal: number, graceMs: number): Promise<ContainerState> {
    const { registry, clock } = this.#modules;
    const isOver = new AbortController();
    const exit = waitForExit(registry, id, isOver.signal);
    exit.catch(() => undefined); // aborted below, when nobody waits any more
    const endLooks = this.#lookAfter(registry.mustGet(id));
    try {
      this.#send(id, signal);
      if (graceMs < 0) return await exit;
      const result = await withDeadline(clock, graceMs, exit, () => undefined);
      if (result !== 'timeout') return result.value;
      this.#send(id, SIGKILL);
      const killed = await withDeadline(clock, KILL_TIMEOUT_MS, exit, () => undefined);
      if (killed !== 'timeout') return killed.value;
    } finally {
      endLooks();
      isOver.abort();
    }
    const pid = registry.get(id)?.status.process?.pid ?? 0;
    throw new HatobaError(
      'deadline',
      `container ${id} does not end: process ${pid} hangs in the kernel`,
    );
  }

  #send(id: string, signal: number): void {
    const { registry, bootId, exits } = this.#modules;
    const entry = registry.get(id);
    if (entry === undefined || !hasProcess(entry)) return;
    if (entry.status.status !== 'created') {
      this.#deliver(entry, signal, true);
    } else if (entry.status.process !== undefined) {
      signalProcess(entry.status.process, signal, bootId);
    }
    exits.check(id);
  }

  /** Looks often at a container whose conmon is gone, for nobody tells of its exit. */
  #lookAfter({ record, status }: ContainerEntry): () => void {
    const { bootId, clock, exits } = this.#modules;
    if (status.conmon !== undefined && isAlive(status.conmon, bootId)) return () => undefined;
    let cancel = (): void => undefined;
    const look = (): void => {
      cancel = clock.setTimer(LOOK_AGAIN_MS, () => {
        look();
        exits.check(record.config.id);
      });
    };
    look();
    return () => cancel();
  }
}
