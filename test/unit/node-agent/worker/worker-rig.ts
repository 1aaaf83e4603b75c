import { silentLogger } from '../../../../common/logger.js';
import type { Task, TaskStatus } from '../../../../common/model/objects.js';
import { Worker } from '../../../../node-agent/worker/worker.js';
import type { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { FakeExecutor, FakeMachine, type TaskScript } from '../../../support/fake-executor.js';

const random = { next: () => 0.5, bytes: (length: number) => new Uint8Array(length) };

/** Tasks on a disk that survives the worker. */
export class FakeDb {
  readonly files = new Map<string, Task>();
  readonly puts: TaskState[] = [];
  load(): Promise<Task[]> {
    return Promise.resolve([...this.files.values()]);
  }
  put(task: Task): Promise<void> {
    this.puts.push(task.status.state);
    this.files.set(task.id, task);
    return Promise.resolve();
  }
  delete(id: string): Promise<void> {
    this.files.delete(id);
    return Promise.resolve();
  }
}

/** A worker over fakes of all it needs. */
export class Rig {
  readonly clock: FakeClock;
  readonly db: FakeDb;
  readonly executor: FakeExecutor;
  readonly worker: Worker;
  /** Every reported status: "t1 RUNNING". */
  readonly reports: string[] = [];
  /** What was said of a task that drains. */
  readonly draining: string[] = [];
  readonly fatal: unknown[] = [];
  networkWait = '';

  constructor(
    options: {
      scripts?: Record<string, TaskScript>;
      machine?: FakeMachine;
      db?: FakeDb;
      clock?: FakeClock;
    } = {},
  ) {
    this.clock = options.clock ?? new FakeClock();
    this.db = options.db ?? new FakeDb();
    this.executor = new FakeExecutor({
      clock: this.clock,
      machine: options.machine ?? new FakeMachine(),
      scriptOf: (id) => options.scripts?.[id] ?? {},
    });
    this.worker = new Worker({
      executor: this.executor,
      db: this.db,
      clock: this.clock,
      random,
      log: silentLogger,
      networkWait: () => this.networkWait,
      withdraw: (id) => {
        this.executor.calls.push(`withdraw ${id}`);
        return Promise.resolve();
      },
      onStatus: (id, { state, message }) => {
        this.reports.push(`${id} ${state.slice('TASK_STATE_'.length)}`);
        if (message.startsWith('draining')) this.draining.push(message);
      },
      onFatal: (error) => this.fatal.push(error),
    });
  }

  async assign(...tasks: Task[]): Promise<void> {
    this.worker.assign({ updated: tasks, removed: [] });
    await this.clock.advance(0);
  }

  async unassign(...ids: string[]): Promise<void> {
    this.worker.assign({ updated: [], removed: ids });
    await this.clock.advance(0);
  }

  status(id = 't1'): TaskStatus | undefined {
    return this.worker.task(id)?.status;
  }

  /** A crash of the agent and a new one on the same machine. */
  async restart(): Promise<Rig> {
    await this.worker[Symbol.asyncDispose]();
    const next = new Rig({ machine: this.executor.machine, db: this.db, clock: this.clock });
    await next.worker.start();
    await next.clock.advance(0);
    return next;
  }
}
