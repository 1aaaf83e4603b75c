import type { TaskStatus } from '../../common/model/objects.js';
import { checkTransition, isTerminal, isWanted, rankOf } from '../../common/model/task-state.js';
import type { ErrorKind } from '../../common/errors.js';
import type { ContainerStatus } from '../../proto/gen/hatoba/v1/types.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';

/**
 * The life of one task on its node, as two pure functions: what to do next, and what the task's
 * status is once that was done. The runner between them only executes and reports.
 *
 * 1. Observed states never go back (afterAction is the only place that builds a status).
 * 2. A failure before `starting` ends as rejected, from `starting` on as failed.
 * 3. A temporary error keeps the state; the same action is tried again.
 * 4. In `starting` and `running`, a status with `err` is a task that must be stopped for that
 *    reason: it survives a crash of the agent, as everything else in the status does.
 */
export interface TaskView {
  readonly status: TaskStatus;
  /** What the managers want: ready, running, complete, shutdown or remove. */
  readonly desired: TaskState;
  /** False once the managers took the task from this node: it must leave no trace. */
  readonly assigned: boolean;
  /** Why the networks of the task cannot be used yet, for people; empty when they can. */
  readonly networkWait: string;
  /** How long its open connections may go on once it is not wanted; 0: not at all. */
  readonly drainMs: number;
  /** None is left, or their time is over. */
  readonly isDrained: boolean;
}

export type Action =
  /** Nothing until the view changes. */
  | { readonly type: 'idle' }
  /** A report without any effect on the machine. */
  | { readonly type: 'advance'; readonly to: TaskState; readonly message: string }
  /** Image, network and container. */
  | { readonly type: 'prepare' }
  | { readonly type: 'start' }
  /** Resolves when the container has become healthy, or has ended, or is unhealthy. */
  | { readonly type: 'watch'; readonly until: 'healthy' | 'ended' }
  /** Lets go on what others have begun, at most so long in all. */
  | { readonly type: 'drain'; readonly limitMs: number }
  /** Stop signal and grace period; also undoes a half-made prepare. */
  | { readonly type: 'shutdown' }
  /** Removes the container and all that belongs to it. */
  | { readonly type: 'remove' };

/** What the executor saw of the task's container. */
export type Observation =
  | {
      readonly status: 'running';
      readonly containerId: string;
      readonly pid: number;
      readonly health: 'none' | 'starting' | 'healthy' | 'unhealthy';
      /** Output of the last probe. */
      readonly healthOutput: string;
    }
  | {
      readonly status: 'exited';
      readonly containerId: string;
      readonly exitCode: number;
      readonly oomKilled: boolean;
    }
  | { readonly status: 'missing' };

export type Outcome =
  | { readonly type: 'done' }
  | { readonly type: 'observed'; readonly container: Observation }
  /** Of a drain: so many connections are still open. */
  | { readonly type: 'open'; readonly connections: number }
  | { readonly type: 'failed'; readonly err: string }
  | { readonly type: 'retry'; readonly err: string };

/**
 * Tries of a prepare or start that meets temporary errors, before they count as final: the engine
 * has tried for itself already, and the managers replace a task that did not come up.
 */
export const MAX_ATTEMPTS = 2;

export function nextAction(view: TaskView): Action {
  const { status, desired, assigned } = view;
  if (isTerminal(status.state)) return assigned ? { type: 'idle' } : { type: 'remove' };
  if (!assigned || status.err !== '') return { type: 'shutdown' };
  if (!isWanted(desired)) return actionWhileLeaving(view);
  if (rankOf(status.state) < rankOf(TaskState.ACCEPTED)) {
    return { type: 'advance', to: TaskState.ACCEPTED, message: 'accepted' };
  }
  switch (status.state) {
    case TaskState.ACCEPTED:
      return { type: 'advance', to: TaskState.PREPARING, message: 'preparing' };
    case TaskState.PREPARING:
      return actionWhilePreparing(view);
    case TaskState.READY:
      return desired === TaskState.READY
        ? { type: 'idle' }
        : { type: 'advance', to: TaskState.STARTING, message: 'starting' };
    case TaskState.STARTING:
      return hasProcess(status) ? { type: 'watch', until: 'healthy' } : { type: 'start' };
    default:
      return { type: 'watch', until: 'ended' };
  }
}

function actionWhilePreparing({ status, networkWait }: TaskView): Action {
  if (networkWait === '') return { type: 'prepare' };
  if (status.message === networkWait) return { type: 'idle' };
  return { type: 'advance', to: TaskState.PREPARING, message: networkWait };
}

/**
 * What is not wanted any more lets its connections end first. Not so what has failed, and what the
 * managers took away altogether: by then no node leads anything to it.
 */
function actionWhileLeaving({ status, drainMs, isDrained }: TaskView): Action {
  const isServing =
    status.state === TaskState.RUNNING ||
    (status.state === TaskState.STARTING && hasProcess(status));
  const mustDrain = isServing && drainMs > 0 && !isDrained;
  return mustDrain ? { type: 'drain', limitMs: drainMs } : { type: 'shutdown' };
}

/** Whether an action that is under way is still the one to do. */
export function isSameAction(a: Action, b: Action): boolean {
  if (a.type === 'drain' && b.type === 'drain') return a.limitMs === b.limitMs;
  return a.type === b.type;
}

function hasProcess(status: TaskStatus): boolean {
  return status.containerStatus.pid > 0;
}

/** The status after `action` ended with `outcome`; the same object when nothing changed. */
export function afterAction(
  status: TaskStatus,
  action: Action,
  outcome: Outcome,
  nowMs: number,
): TaskStatus {
  const change = changeAfter(status, action, outcome);
  if (change === undefined) return status;
  const next = { ...status, ...change };
  checkTransition(status.state, next.state);
  const entersRunning = next.state === TaskState.RUNNING && status.state !== TaskState.RUNNING;
  return {
    ...next,
    timestampMs: nowMs,
    runningAtMs: entersRunning ? nowMs : status.runningAtMs,
  };
}

type Change = Partial<Pick<TaskStatus, 'state' | 'message' | 'err' | 'containerStatus'>>;

function changeAfter(status: TaskStatus, action: Action, outcome: Outcome): Change | undefined {
  switch (action.type) {
    case 'idle':
    case 'remove':
      return undefined;
    case 'advance':
      return { state: action.to, message: action.message };
    case 'prepare':
      return afterPrepare(status, outcome);
    case 'start':
    case 'watch':
      return afterContainerAction(status, outcome);
    case 'drain':
      return afterDrain(status, outcome);
    case 'shutdown':
      return afterShutdown(status, outcome);
  }
}

function afterPrepare(status: TaskStatus, outcome: Outcome): Change | undefined {
  switch (outcome.type) {
    case 'done':
    case 'observed':
    case 'open':
      return { state: TaskState.READY, message: 'prepared' };
    case 'failed':
      return { state: TaskState.REJECTED, message: 'preparing', err: outcome.err };
    case 'retry':
      return messageChange(status, `preparing, trying again: ${outcome.err}`);
  }
}

function afterContainerAction(status: TaskStatus, outcome: Outcome): Change | undefined {
  switch (outcome.type) {
    case 'done':
    case 'open':
      return undefined;
    case 'observed':
      return afterObservation(status, outcome.container);
    case 'failed':
      return { message: 'stopping', err: outcome.err };
    case 'retry':
      return messageChange(status, `${doing(status)}, trying again: ${outcome.err}`);
  }
}

function doing(status: TaskStatus): string {
  return status.state === TaskState.STARTING ? 'starting' : 'running';
}

function afterObservation(status: TaskStatus, container: Observation): Change | undefined {
  switch (container.status) {
    case 'missing':
      return { ...ended(status), err: 'task: its container is gone from this node' };
    case 'exited':
      return afterExit(status, container);
    case 'running':
      return afterRunning(status, container);
  }
}

function afterExit(
  status: TaskStatus,
  container: Extract<Observation, { status: 'exited' }>,
): Change {
  const containerStatus = exitedContainer(status, container);
  if (container.exitCode === 0) {
    return { state: TaskState.COMPLETE, message: 'finished', containerStatus };
  }
  const reason = container.oomKilled ? ': killed, out of memory' : '';
  const err = `task: non-zero exit (${container.exitCode})${reason}`;
  return { ...ended(status), err, containerStatus };
}

function afterRunning(
  status: TaskStatus,
  container: Extract<Observation, { status: 'running' }>,
): Change | undefined {
  const { containerId, pid, health } = container;
  const containerStatus: ContainerStatus = { containerId, pid, oomKilled: false };
  if (health === 'unhealthy') {
    const output = container.healthOutput.trim();
    const err = `unhealthy container${output === '' ? '' : `: ${output}`}`;
    return { message: 'stopping: unhealthy', err, containerStatus };
  }
  if (status.state === TaskState.STARTING && health === 'starting') {
    return { message: 'starting: waiting for the health check', containerStatus };
  }
  const isNews = status.state !== TaskState.RUNNING || status.containerStatus.pid !== pid;
  return isNews ? { state: TaskState.RUNNING, message: 'running', containerStatus } : undefined;
}

/** What ends by itself meanwhile has ended as it did; its health is of no interest any more. */
function afterDrain(status: TaskStatus, outcome: Outcome): Change | undefined {
  switch (outcome.type) {
    case 'done':
      return undefined;
    case 'observed':
      return outcome.container.status === 'running'
        ? undefined
        : afterObservation(status, outcome.container);
    case 'open': {
      const { connections } = outcome;
      const noun = connections === 1 ? 'connection' : 'connections';
      return messageChange(status, `draining: ${connections} open ${noun}`);
    }
    case 'failed':
    case 'retry':
      return messageChange(status, `draining, trying again: ${outcome.err}`);
  }
}

function afterShutdown(status: TaskStatus, outcome: Outcome): Change | undefined {
  if (outcome.type === 'failed' || outcome.type === 'retry') {
    return messageChange(status, `stopping, trying again: ${outcome.err}`);
  }
  const containerStatus =
    outcome.type === 'observed' && outcome.container.status === 'exited'
      ? exitedContainer(status, outcome.container)
      : status.containerStatus;
  if (status.err !== '') return { ...ended(status), containerStatus };
  return { state: TaskState.SHUTDOWN, message: 'shutdown', containerStatus };
}

/** Where a task ends that did not end well. */
function ended(status: TaskStatus): { state: TaskState; message: string } {
  return rankOf(status.state) < rankOf(TaskState.STARTING)
    ? { state: TaskState.REJECTED, message: 'preparing' }
    : { state: TaskState.FAILED, message: doing(status) };
}

function exitedContainer(
  status: TaskStatus,
  container: Extract<Observation, { status: 'exited' }>,
): ContainerStatus {
  const { containerId, exitCode, oomKilled } = container;
  return { containerId, pid: status.containerStatus.pid, exitCode, oomKilled };
}

function messageChange(status: TaskStatus, message: string): Change | undefined {
  return status.message === message ? undefined : { message };
}

const TEMPORARY: ReadonlySet<ErrorKind> = new Set(['conflict', 'unavailable', 'deadline']);

/**
 * What an error of the executor means. A task is only given up where nothing of it runs: stopping,
 * removing and watching are tried for ever.
 * @param attempt counts from 1
 */
export function outcomeOfError(
  action: Action,
  error: { readonly kind: ErrorKind; readonly message: string },
  attempt: number,
): Outcome {
  const err = error.message;
  switch (action.type) {
    case 'prepare':
    case 'start':
      return TEMPORARY.has(error.kind) && attempt < MAX_ATTEMPTS
        ? { type: 'retry', err }
        : { type: 'failed', err };
    default:
      return { type: 'retry', err };
  }
}

/**
 * How long a task's connections may go on: those that the managers count as dead get no time, nor
 * those without an address of their own, whose connections cannot be told from others'.
 */
export function drainMsOf(task: {
  readonly drainMs: number;
  readonly networksAttachments: readonly { readonly addresses: readonly string[] }[];
  readonly status: { readonly state: TaskState };
}): number {
  const hasAddress = task.networksAttachments.some((a) => a.addresses.length > 0);
  return hasAddress && !isTerminal(task.status.state) ? Math.max(0, task.drainMs) : 0;
}

/** The managers' wish as the machine reads it: a task they count as dead is not wanted either. */
export function desiredOf(task: {
  readonly desiredState: TaskState;
  readonly status: { readonly state: TaskState };
}): TaskState {
  return isTerminal(task.status.state) ? TaskState.SHUTDOWN : task.desiredState;
}
