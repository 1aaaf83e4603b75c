import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Task, TaskStatus } from '../../common/model/objects.js';
import { rankOf } from '../../common/model/task-state.js';
import type { Random } from '../../common/random.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import type { Executor } from '../executor/executor.js';
import type { TaskDb } from '../state/task-db.js';
import { TaskRunner } from './task-runner.js';

export interface WorkerModules {
  readonly executor: Executor;
  readonly db: Pick<TaskDb, 'load' | 'put' | 'delete'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Why the networks of a task cannot be used yet; empty when they can. */
  readonly networkWait: (task: Task) => string;
  /** Has this node lead nothing new to a task any more, at once; must not throw. */
  readonly withdraw: (taskId: string) => Promise<void>;
  /** Called with each new status of an assigned task, after what a restart needs is on disk. */
  readonly onStatus: (taskId: string, status: TaskStatus) => void;
  /** A bug: the process cannot go on. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * All tasks of this node, one runner each. Set based: it is told which tasks there are, and
 * forgets one only when nothing of it is left on the machine.
 */
export class Worker implements AsyncDisposable {
  readonly #modules: WorkerModules;
  readonly #runners = new Map<string, TaskRunner>();
  /** Of each task on disk, the desired state that is there. */
  readonly #keptWishes = new Map<string, TaskState>();
  #isClosed = false;

  constructor(modules: WorkerModules) {
    this.#modules = modules;
  }

  /**
   * Takes up the tasks that are on disk: what runs goes on running, what was interrupted goes on.
   * @returns those tasks, with the status each had
   */
  async start(): Promise<Task[]> {
    const tasks = await this.#modules.db.load();
    for (const task of tasks) this.#run(task);
    return tasks;
  }

  /** Applies one step of assignments. A task that this node knows keeps the status it has here. */
  assign(step: { readonly updated: readonly Task[]; readonly removed: readonly string[] }): void {
    if (this.#isClosed) return;
    for (const task of step.updated) {
      const runner = this.#runners.get(task.id);
      if (runner === undefined) this.#run(task);
      else runner.update(task);
    }
    for (const id of step.removed) this.#runners.get(id)?.unassign();
  }

  /** The networks of this node have changed. */
  networksChanged(): void {
    for (const runner of this.#runners.values()) runner.lookAgain();
  }

  /** The task with the status it has on this node. */
  task(id: string): Task | undefined {
    return this.#runners.get(id)?.task;
  }

  /** The newest status of every assigned task. */
  statuses(): Map<string, TaskStatus> {
    const statuses = new Map<string, TaskStatus>();
    for (const [id, runner] of this.#runners) {
      if (isReportable(runner)) statuses.set(id, runner.task.status);
    }
    return statuses;
  }

  /**
   * Removes what no task of this node explains: left by a crash between a removal and its end, or
   * by a task whose file was lost. Only for when the full set of assignments is known.
   */
  async sweep(): Promise<void> {
    const { executor, log } = this.#modules;
    for (const id of await executor.list()) {
      if (this.#runners.has(id) || this.#isClosed) continue;
      try {
        await executor.remove(id);
        log.info('Removed the remains of an unknown task', { taskId: id });
      } catch (error) {
        log.warn('Could not remove the remains of an unknown task', { taskId: id }, error);
      }
    }
  }

  /** Stops watching; the containers stay as they are. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const runner of this.#runners.values()) runner.stop();
    return Promise.resolve();
  }

  #run(task: Task): void {
    const { executor, clock, random, log, networkWait, withdraw } = this.#modules;
    const runner: TaskRunner = new TaskRunner(task, {
      executor,
      clock,
      random,
      log,
      networkWait,
      withdraw,
      record: (newest) => this.#record(runner, newest),
    });
    this.#runners.set(task.id, runner);
    runner
      .run()
      .then((isGone) => (isGone ? this.#forget(runner) : undefined))
      .catch(this.#modules.onFatal);
  }

  async #forget(runner: TaskRunner): Promise<void> {
    const { task } = runner;
    try {
      await this.#modules.db.delete(task.id);
    } catch (error) {
      // The next start finds the file, and the next full set of assignments removes it again.
      this.#modules.log.warn('Could not delete a task file', { taskId: task.id }, error);
    }
    this.#keptWishes.delete(task.id);
    this.#runners.delete(task.id);
    // It came back while the last of it was being removed: it goes on from where it ended.
    if (runner.isAssigned && !this.#isClosed) this.#run(runner.task);
  }

  /** On disk when it resolves, but for what a restart finds out again. */
  async #keep(task: Task): Promise<void> {
    const { id, desiredState } = task;
    if (isPassing(task.status) && this.#keptWishes.get(id) === desiredState) return;
    await this.#modules.db.put(task);
    this.#keptWishes.set(id, desiredState);
  }

  async #record(runner: TaskRunner, task: Task): Promise<void> {
    try {
      await this.#keep(task);
    } catch (error) {
      this.#modules.log.error('Could not keep a task on disk', { taskId: task.id }, error);
    }
    if (!this.#isClosed && isReportable(runner)) this.#modules.onStatus(task.id, task.status);
  }
}

const PASSING: readonly TaskState[] = [TaskState.PREPARING, TaskState.READY, TaskState.STARTING];

/**
 * What a restart need not find on disk: between `accepted` and a process of its own, the machine
 * comes to the same state again by the same wish, as every action finds what is there already. Two
 * files a task instead of six, and creating files is a good part of what starting a task costs.
 */
function isPassing({ state, err, containerStatus }: TaskStatus): boolean {
  return PASSING.includes(state) && err === '' && containerStatus.pid === 0;
}

/**
 * Whether the managers are to hear of it: states before `accepted`, and `orphaned`, are theirs to
 * write and refused from a node.
 */
function isReportable(runner: TaskRunner): boolean {
  const { state } = runner.task.status;
  return (
    runner.isAssigned && rankOf(state) >= rankOf(TaskState.ACCEPTED) && state !== TaskState.ORPHANED
  );
}
