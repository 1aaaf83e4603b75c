import type { Task } from '../../common/model/objects.js';
import type { Observation } from '../core/task-machine.js';

/** What of a container is waited for. */
export type WatchedFor = 'healthy' | 'ended' | 'exited';

/**
 * What a machine can do for a task. Every call may come again after a crash of the agent and then
 * finds its work done or half done: "already so" is success. Calls for one task never overlap: one
 * that was aborted settles when it has unwound.
 *
 * Errors are HatobaErrors: `conflict`, `unavailable` and `deadline` are temporary; all others of
 * prepare and start are final. Messages reach the user as the task's error, word for word.
 */
export interface Executor {
  /** Image, network sandbox and container, ready to be started; undone when it throws. */
  prepare(task: Task, signal: AbortSignal): Promise<void>;
  /** Starts the container, unless it already runs or has already ended. */
  start(task: Task): Promise<Observation>;
  /**
   * Resolves at once if it is already so, else as soon as it is so.
   * `healthy`: the container is healthy (or has no health check), unhealthy, ended or gone.
   * `ended`: it is unhealthy, ended or gone.
   * `exited`: it has ended or is gone.
   * @throws the signal's reason when it aborts
   */
  watch(task: Task, until: WatchedFor, signal: AbortSignal): Promise<Observation>;
  /**
   * How many connections others have open to the task. Changes nothing, so it may be asked for during
   * a watch.
   */
  openConnections(task: Task): Promise<number>;
  /** Ends the container with the task's stop signal and grace period; keeps its logs. */
  shutdown(task: Task): Promise<Observation>;
  /** Gives back what others may need, addresses and ports; nothing of the task runs after it. */
  release(taskId: string): Promise<void>;
  /** Removes every trace of a task. Unknown ids: success. */
  remove(taskId: string): Promise<void>;
  /** Ids of all tasks that left a trace on this machine. */
  list(): Promise<string[]>;
}
