import { assertNever } from '../../common/assert.js';
import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { describeError, isKind, kindOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Task, TaskStatus } from '../../common/model/objects.js';
import { isTerminal, rankOf } from '../../common/model/task-state.js';
import type { Random } from '../../common/random.js';
import {
  afterAction,
  desiredOf,
  drainMsOf,
  isSameAction,
  nextAction,
  outcomeOfError,
  type Action,
  type Outcome,
  type TaskView,
} from '../core/task-machine.js';
import type { Executor } from '../executor/executor.js';
import { Drain } from './drain.js';

export interface TaskRunnerModules {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Why the networks of a task cannot be used yet; empty when they can. */
  readonly networkWait: (task: Task) => string;
  /** Has this node lead nothing new to the task any more, at once; must not throw. */
  readonly withdraw: (taskId: string) => Promise<void>;
  /** Keeps a new status and passes it on; must not throw. */
  readonly record: (task: Task) => Promise<void>;
}

const RETRY = { baseMs: 500, maxMs: 8000 } as const;
const RELEASE_ATTEMPTS = 3;

/**
 * Brings one task to what is wanted of it: action, executor, afterAction, record, again. Level
 * triggered: whatever changes, it looks at the present view and does the next thing. Dropping a
 * runner leaves the container as it is.
 */
export class TaskRunner {
  readonly #modules: TaskRunnerModules;
  readonly #stop = new AbortController();
  #task: Task;
  #isAssigned = true;
  /** Once it is to leave. */
  #drain: Drain | undefined;
  #isDrained = false;
  #running: { readonly action: Action; readonly abort: AbortController } | undefined;
  #wake: () => void = () => undefined;
  #changed: Promise<void>;

  /** @param task its status is the one to begin with */
  constructor(task: Task, modules: TaskRunnerModules) {
    this.#task = { ...task, drainMs: drainMsOf(task) };
    this.#modules = modules;
    this.#changed = this.#newLatch();
  }

  /** With the status of this node. */
  get task(): Task {
    return this.#task;
  }

  get isAssigned(): boolean {
    return this.#isAssigned;
  }

  /**
   * Resolves once nothing of the task is left on this node, or after stop().
   * @returns whether the task is gone
   */
  async run(): Promise<boolean> {
    if (isTerminal(this.#task.status.state)) await this.#release();
    let attempt = 0;
    while (!this.#stop.signal.aborted) {
      const changed = this.#changed;
      const action = nextAction(this.#view());
      if (action.type === 'idle') {
        await changed;
        continue;
      }
      const outcome = await this.#perform(action, attempt + 1);
      if (outcome === undefined) {
        attempt = 0;
        continue;
      }
      if (action.type === 'remove' && outcome.type === 'done') return true;
      await this.#apply(afterAction(this.#task.status, action, outcome, this.#now()));
      attempt = outcome.type === 'retry' ? attempt + 1 : 0;
      if (outcome.type === 'retry') await this.#pause(attempt, changed);
    }
    return false;
  }

  /**
   * Takes over a newer version of the task; its own status stays. A wish only goes forward: a
   * manager that has just taken over may still keep back what another one has let out.
   */
  update(task: Task): void {
    const { desiredState: before } = this.#task;
    const told = desiredOf(task);
    const desiredState = this.#isAssigned && rankOf(told) < rankOf(before) ? before : told;
    const drainMs = drainMsOf(task);
    const isReplaced =
      desiredState !== before || drainMs !== this.#task.drainMs || !this.#isAssigned;
    this.#task = { ...task, desiredState, drainMs, status: this.#task.status };
    if (!this.#isAssigned) {
      this.#drain = undefined;
      this.#isDrained = false;
    }
    this.#isAssigned = true;
    if (isReplaced) this.lookAgain();
  }

  /** The managers took the task from this node. */
  unassign(): void {
    this.#isAssigned = false;
    this.lookAgain();
  }

  /** Something that the view depends on has changed. */
  lookAgain(): void {
    this.#wake();
    this.#changed = this.#newLatch();
    const running = this.#running;
    if (running === undefined) return;
    if (!isSameAction(nextAction(this.#view()), running.action)) running.abort.abort();
  }

  /** Ends the loop; the container stays as it is. */
  stop(): void {
    this.#stop.abort();
    this.#running?.abort.abort();
    this.#wake();
  }

  #view(): TaskView {
    return {
      status: this.#task.status,
      desired: this.#task.desiredState,
      assigned: this.#isAssigned,
      networkWait: this.#modules.networkWait(this.#task),
      drainMs: this.#task.drainMs,
      isDrained: this.#isDrained,
    };
  }

  /** @returns undefined when the action was given up because something else is wanted now */
  async #perform(action: Action, attempt: number): Promise<Outcome | undefined> {
    const abort = new AbortController();
    this.#running = { action, abort };
    try {
      return await this.#execute(action, abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return undefined;
      const outcome = outcomeOfError(
        action,
        { kind: kindOf(error), message: describeError(error) },
        attempt,
      );
      this.#logFailure(action, outcome, error);
      return outcome;
    } finally {
      this.#running = undefined;
    }
  }

  async #execute(action: Action, signal: AbortSignal): Promise<Outcome> {
    const { executor } = this.#modules;
    const task = this.#task;
    switch (action.type) {
      case 'idle':
      case 'advance':
        return { type: 'done' };
      case 'prepare':
        await executor.prepare(task, signal);
        return { type: 'done' };
      case 'start':
        return { type: 'observed', container: await executor.start(task) };
      case 'watch':
        return { type: 'observed', container: await executor.watch(task, action.until, signal) };
      case 'drain':
        return await this.#performDrain(action.limitMs, signal);
      case 'shutdown':
        return { type: 'observed', container: await executor.shutdown(task) };
      case 'remove':
        await executor.remove(task.id);
        return { type: 'done' };
      default:
        return assertNever(action);
    }
  }

  async #performDrain(limitMs: number, signal: AbortSignal): Promise<Outcome> {
    this.#drain ??= new Drain(this.#modules);
    const outcome = await this.#drain.next(this.#task, limitMs, signal);
    if (outcome.type === 'done') this.#isDrained = true;
    return outcome;
  }

  async #apply(status: TaskStatus): Promise<void> {
    const before = this.#task.status;
    if (status === before) return;
    if (isOver(status) && !isOver(before)) await this.#modules.withdraw(this.#task.id);
    if (isTerminal(status.state) && !isTerminal(before.state)) await this.#release();
    this.#task = { ...this.#task, status };
    this.#modules.log.info('Changed task state', {
      taskId: this.#task.id,
      state: status.state,
      reason: status.message,
      err: status.err,
    });
    await this.#modules.record(this.#task);
  }

  /** An end is reported although this fails: managers would wait for ever, and removal cleans up. */
  async #release(): Promise<void> {
    const { executor, log } = this.#modules;
    for (let attempt = 1; attempt <= RELEASE_ATTEMPTS; attempt++) {
      try {
        await executor.release(this.#task.id);
        return;
      } catch (error) {
        log.warn('Could not release a task', { taskId: this.#task.id, attempt }, error);
      }
    }
  }

  async #pause(attempt: number, changed: Promise<void>): Promise<void> {
    const { clock, random } = this.#modules;
    const over = new AbortController();
    const end = (): void => over.abort();
    void changed.then(end); // cannot reject
    try {
      await sleep(clock, backoffMs(attempt, RETRY, random), over.signal);
    } catch (error) {
      if (!isKind(error, 'cancelled')) throw error;
    }
  }

  #logFailure(action: Action, outcome: Outcome, error: unknown): void {
    const fields = { taskId: this.#task.id, action: action.type, next: outcome.type };
    this.#modules.log.warn('Task action did not work', fields, error);
  }

  #now(): number {
    return this.#modules.clock.nowMs();
  }

  #newLatch(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** It has ended, or will be stopped for an error of its own. */
function isOver({ state, err }: TaskStatus): boolean {
  return isTerminal(state) || err !== '';
}
