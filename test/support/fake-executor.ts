import { sleep, type Clock } from '../../common/clock.js';
import type { HatobaError } from '../../common/errors.js';
import type { Task } from '../../common/model/objects.js';
import type { Observation } from '../../node-agent/core/task-machine.js';
import type { Executor, WatchedFor } from '../../node-agent/executor/executor.js';

/** What happens when a step is tried; by default it succeeds at once. */
export interface StepScript {
  readonly takesMs?: number;
  /** Thrown each time, or the first `times` times. */
  readonly error?: HatobaError;
  readonly times?: number;
  /** Never settles, unless it is aborted. */
  readonly hangs?: boolean;
}

/** The life of one task's container. */
export interface TaskScript {
  readonly prepare?: StepScript;
  readonly start?: StepScript;
  readonly shutdown?: StepScript;
  readonly release?: StepScript;
  readonly remove?: StepScript;
  /** The process ends by itself, counted from its start. */
  readonly exits?: {
    readonly afterMs: number;
    readonly code: number;
    readonly oomKilled?: boolean;
  };
  /** With a health check: `starting` until the given time, then what is given. */
  readonly health?: {
    readonly afterMs: number;
    readonly becomes: 'healthy' | 'unhealthy';
    readonly output?: string;
  };
}

interface FakeContainer {
  status: 'created' | 'running' | 'exited';
  pid: number;
  health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  healthOutput: string;
  exitCode: number;
  oomKilled: boolean;
  cancelTimers: (() => void)[];
}

/** A machine whose containers outlive the executor, as real ones outlive the agent. */
export class FakeMachine {
  readonly containers = new Map<string, FakeContainer>();
  /** Ids of the tasks that hold a network sandbox. */
  readonly sandboxes = new Set<string>();
  /** How many connections others have open, by task; an error where that cannot be told. */
  readonly connections = new Map<string, number | Error>();
  readonly listeners = new Set<() => void>();
  nextPid = 1000;

  changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  /** Ends a container from outside, as the kernel does when memory is short. */
  exit(taskId: string, code: number, oomKilled = false): void {
    const container = this.containers.get(taskId);
    if (container?.status !== 'running') throw new Error(`${taskId} does not run`);
    Object.assign(container, { status: 'exited', exitCode: code, oomKilled });
    for (const cancel of container.cancelTimers.splice(0)) cancel();
    this.changed();
  }

  /** Changes the result of a container's health check. */
  probe(taskId: string, health: 'healthy' | 'unhealthy', output = ''): void {
    const container = this.containers.get(taskId);
    if (container?.status !== 'running') throw new Error(`${taskId} does not run`);
    Object.assign(container, { health, healthOutput: output });
    this.changed();
  }

  running(): string[] {
    return [...this.containers].filter(([, c]) => c.status === 'running').map(([id]) => id);
  }
}

/**
 * An Executor over a FakeMachine: every step succeeds at once unless the task's script says
 * otherwise. Deterministic under a FakeClock.
 */
export class FakeExecutor implements Executor {
  /** Every call in order: "prepare t1". */
  readonly calls: string[] = [];
  readonly machine: FakeMachine;
  /** Most prepares that ever ran at the same time. */
  maxParallelPrepares = 0;
  readonly #clock: Clock;
  readonly #machineClock: Clock;
  readonly #scriptOf: (taskId: string) => TaskScript;
  readonly #attempts = new Map<string, number>();
  #prepares = 0;

  constructor(options: {
    clock: Clock;
    /** By which containers live on when the executor's own process ends; `clock` by default. */
    machineClock?: Clock;
    machine?: FakeMachine;
    /** @param taskId id of a task, or of one that only left traces */
    scriptOf?: (taskId: string) => TaskScript;
  }) {
    this.#clock = options.clock;
    this.#machineClock = options.machineClock ?? options.clock;
    this.machine = options.machine ?? new FakeMachine();
    this.#scriptOf = options.scriptOf ?? (() => ({}));
  }

  async prepare(task: Task, signal: AbortSignal): Promise<void> {
    this.#prepares++;
    this.maxParallelPrepares = Math.max(this.maxParallelPrepares, this.#prepares);
    try {
      await this.#step('prepare', task.id, signal);
    } finally {
      this.#prepares--;
    }
    if (this.machine.containers.has(task.id)) return;
    this.machine.sandboxes.add(task.id);
    this.machine.containers.set(task.id, {
      status: 'created',
      pid: 0,
      health: 'none',
      healthOutput: '',
      exitCode: 0,
      oomKilled: false,
      cancelTimers: [],
    });
  }

  async start(task: Task): Promise<Observation> {
    await this.#step('start', task.id);
    const container = this.machine.containers.get(task.id);
    if (container?.status === 'created') this.#run(task.id, container);
    return this.#observe(task.id);
  }

  async watch(task: Task, until: WatchedFor, signal: AbortSignal): Promise<Observation> {
    this.calls.push(`watch ${task.id}`);
    for (;;) {
      signal.throwIfAborted();
      const seen = this.#observe(task.id);
      if (seen.status !== 'running') return seen;
      if (until !== 'exited' && seen.health === 'unhealthy') return seen;
      if (until === 'healthy' && seen.health !== 'starting') return seen;
      await this.#nextChange(signal);
    }
  }

  openConnections(task: Task): Promise<number> {
    this.calls.push(`openConnections ${task.id}`);
    const open = this.machine.connections.get(task.id) ?? 0;
    return open instanceof Error ? Promise.reject(open) : Promise.resolve(open);
  }

  async shutdown(task: Task): Promise<Observation> {
    await this.#step('shutdown', task.id);
    const container = this.machine.containers.get(task.id);
    if (container?.status === 'created') this.machine.containers.delete(task.id);
    if (container?.status === 'running') this.machine.exit(task.id, 143);
    return this.#observe(task.id);
  }

  async release(taskId: string): Promise<void> {
    await this.#step('release', taskId);
    const container = this.machine.containers.get(taskId);
    if (container?.status === 'created') this.machine.containers.delete(taskId);
    if (container?.status === 'running') this.machine.exit(taskId, 137);
    this.machine.sandboxes.delete(taskId);
  }

  async remove(taskId: string): Promise<void> {
    await this.#step('remove', taskId);
    for (const cancel of this.machine.containers.get(taskId)?.cancelTimers ?? []) cancel();
    this.machine.containers.delete(taskId);
    this.machine.sandboxes.delete(taskId);
    this.machine.changed();
  }

  list(): Promise<string[]> {
    const ids = new Set([...this.machine.containers.keys(), ...this.machine.sandboxes]);
    return Promise.resolve([...ids].sort());
  }

  async #step(
    name: 'prepare' | 'start' | 'shutdown' | 'release' | 'remove',
    taskId: string,
    signal?: AbortSignal,
  ): Promise<void> {
    this.calls.push(`${name} ${taskId}`);
    signal?.throwIfAborted();
    const script = this.#scriptOf(taskId)[name] ?? {};
    if (script.hangs === true) await this.#hang(signal);
    if (script.takesMs !== undefined) await sleep(this.#clock, script.takesMs, signal);
    const key = `${name} ${taskId}`;
    const attempt = (this.#attempts.get(key) ?? 0) + 1;
    this.#attempts.set(key, attempt);
    if (script.error !== undefined && attempt <= (script.times ?? Infinity)) throw script.error;
  }

  #hang(signal?: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }

  #run(taskId: string, container: FakeContainer): void {
    const { health, exits } = this.#scriptOf(taskId);
    container.status = 'running';
    container.pid = this.machine.nextPid++;
    container.health = health === undefined ? 'none' : 'starting';
    if (health !== undefined) {
      const { becomes, output = '' } = health;
      container.cancelTimers.push(
        this.#machineClock.setTimer(health.afterMs, () =>
          this.machine.probe(taskId, becomes, output),
        ),
      );
    }
    if (exits !== undefined) {
      container.cancelTimers.push(
        this.#machineClock.setTimer(exits.afterMs, () =>
          this.machine.exit(taskId, exits.code, exits.oomKilled ?? false),
        ),
      );
    }
  }

  #observe(taskId: string): Observation {
    const container = this.machine.containers.get(taskId);
    if (container === undefined || container.status === 'created') return { status: 'missing' };
    const { status, pid, health, healthOutput, exitCode, oomKilled } = container;
    return status === 'running'
      ? { status, containerId: taskId, pid, health, healthOutput }
      : { status, containerId: taskId, exitCode, oomKilled };
  }

  #nextChange(signal: AbortSignal): Promise<void> {
    const { listeners } = this.machine;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        listeners.delete(onChange);
        signal.removeEventListener('abort', onAbort);
      };
      const onChange = (): void => {
        end();
        resolve();
      };
      const onAbort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      listeners.add(onChange);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
