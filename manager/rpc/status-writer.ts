import { HatobaError, wrapError } from '../../common/errors.js';
import type { Task, TaskStatus } from '../../common/model/objects.js';
import { isTerminal, rankOf } from '../../common/model/task-state.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import type { TaskStatusUpdate } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { Change, Plan } from '../core/snapshot.js';
import { writePlan, type ClusterAccess } from './write-plan.js';

/** How long the first report of a batch waits for others, unless others wait for it. */
const GATHER_MS = 10;
const MAX_TEXT_LENGTH = 4096;
const MAX_ID_LENGTH = 128;

interface Report {
  readonly taskId: string;
  readonly nodeId: string;
  readonly status: TaskStatus;
}

/** Reports that are written together, and what their senders wait for. */
interface Batch {
  readonly reports: Report[];
  readonly done: Promise<void>;
  settle(error?: Error): void;
}

/**
 * Writes the task states that nodes report, many in one transaction. While one batch is being
 * written the next gathers, so a slow store makes batches larger, not queues longer. That a task has
 * come up, or ended by itself, is written at once, as load balancers wait for it.
 */
export class StatusWriter implements AsyncDisposable {
  readonly #cluster: ClusterAccess;
  #gathered: Batch | undefined;
  #writing: Promise<void> = Promise.resolve();
  #isWriting = false;
  #cancelTimer: () => void = () => undefined;
  readonly #end = new AbortController();

  constructor(cluster: ClusterAccess) {
    this.#cluster = cluster;
  }

  /**
   * Resolves once the reports are in the store, or were found to say nothing new.
   * @throws {HatobaError} permission-denied when a task is not this node's; invalid-argument
   */
  async report(nodeId: string, updates: readonly TaskStatusUpdate[]): Promise<void> {
    const reports = updates.map((update) => this.#checked(nodeId, update));
    if (reports.length === 0) return;
    this.#gathered ??= this.#startGathering();
    const { done } = this.#gathered;
    this.#gathered.reports.push(...reports);
    if (reports.some(isNews)) this.#flushNow();
    await done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelTimer();
    const stopping = new HatobaError('unavailable', 'this manager is stopping');
    this.#end.abort(stopping); // a view that moves no more must not hold up the stop
    this.#gathered?.settle(stopping);
    this.#gathered = undefined;
    await this.#writing;
  }

  #checked(nodeId: string, update: TaskStatusUpdate): Report {
    const { taskId, status } = update;
    const task = this.#cluster.view.task(taskId);
    if (task !== undefined && task.nodeId !== nodeId) {
      throw new HatobaError('permission-denied', `task ${taskId} does not run on node ${nodeId}`);
    }
    if (status === undefined) {
      throw new HatobaError('invalid-argument', `the update of task ${taskId} has no status`);
    }
    if (!isAgentState(status.state)) {
      throw new HatobaError(
        'invalid-argument',
        `an agent may not report the state ${status.state}`,
      );
    }
    return {
      taskId,
      nodeId,
      status: {
        ...status,
        message: status.message.slice(0, MAX_TEXT_LENGTH),
        err: status.err.slice(0, MAX_TEXT_LENGTH),
        containerStatus: containerStatusOf(status),
      },
    };
  }

  #startGathering(): Batch {
    let settle: Batch['settle'] = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      settle = (error) => {
        if (error === undefined) resolve();
        else reject(error);
      };
    });
    if (!this.#isWriting) this.#flushSoon();
    return { reports: [], done, settle };
  }

  #flushSoon(): void {
    this.#cancelTimer = this.#cluster.clock.setTimer(GATHER_MS, () => this.#flushNow());
  }

  #flushNow(): void {
    if (this.#isWriting) return; // then it comes next
    this.#cancelTimer();
    this.#isWriting = true;
    this.#writing = Promise.resolve().then(() => this.#flush()); // with what comes in this turn
  }

  async #flush(): Promise<void> {
    for (let batch = this.#gathered; batch !== undefined; batch = this.#gathered) {
      this.#gathered = undefined;
      await this.#write(batch.reports).then(
        () => batch.settle(),
        (error: unknown) => batch.settle(wrapError(error, 'recording task states')),
      );
    }
    this.#isWriting = false;
  }

  #write(reports: readonly Report[]): Promise<void> {
    const decide = (): Plan | undefined => {
      const changes = this.#changes(reports);
      return changes.length === 0 ? undefined : { groups: changes.map((change) => [change]) };
    };
    return writePlan(this.#cluster, decide, this.#end.signal);
  }

  #changes(reports: readonly Report[]): Change[] {
    const latest = new Map<string, Task>();
    const nowMs = this.#cluster.clock.nowMs();
    for (const { taskId, nodeId, status } of reports) {
      const task = latest.get(taskId) ?? this.#cluster.view.task(taskId);
      // A task that is gone or went elsewhere meanwhile needs no word any more.
      if (task?.nodeId !== nodeId) continue;
      const next = nextStatus(task.status, status, nowMs);
      if (next !== undefined) latest.set(taskId, { ...task, status: next });
    }
    return [...latest.values()].map((object) => ({ action: 'update', kind: 'task', object }));
  }
}

/** Whether it decides on who gets connections: what was stopped has long got none. */
function isNews({ status: { state } }: Report): boolean {
  return rankOf(state) >= rankOf(pb.TaskState.RUNNING) && state !== pb.TaskState.SHUTDOWN;
}

function containerStatusOf({ containerStatus }: pb.TaskStatus): pb.ContainerStatus {
  if (containerStatus === undefined) return pb.ContainerStatus.fromPartial({});
  return { ...containerStatus, containerId: containerStatus.containerId.slice(0, MAX_ID_LENGTH) };
}

/** States that belong to the agent: from ACCEPTED on, without those only managers decide. */
function isAgentState(state: pb.TaskState): boolean {
  const managersOnly: readonly pb.TaskState[] = [pb.TaskState.REMOVE, pb.TaskState.ORPHANED];
  return rankOf(state) >= rankOf(pb.TaskState.ACCEPTED) && !managersOnly.includes(state);
}

/**
 * What a report makes of a task's status; undefined when it is stale or says nothing new. States
 * only go forward, and an end is final.
 */
export function nextStatus(
  present: TaskStatus,
  reported: TaskStatus,
  nowMs: number,
): TaskStatus | undefined {
  if (rankOf(reported.state) < rankOf(present.state)) return undefined;
  const sameState = reported.state === present.state;
  if (isTerminal(present.state) && !sameState) return undefined;
  if (sameState && reported.timestampMs < present.timestampMs) return undefined;
  const isRunning = reported.state === pb.TaskState.RUNNING;
  // A node's clock that runs ahead would make restart delays and monitors wait for it.
  const timestampMs = Math.min(reported.timestampMs === 0 ? nowMs : reported.timestampMs, nowMs);
  const runningAtMs =
    [present.runningAtMs, Math.min(reported.runningAtMs, nowMs), isRunning ? timestampMs : 0].find(
      (ms) => ms > 0,
    ) ?? 0;
  const next = { ...reported, timestampMs, runningAtMs };
  return sameState && saysTheSame(present, next) ? undefined : next;
}

function saysTheSame(a: TaskStatus, b: TaskStatus): boolean {
  const encode = (s: TaskStatus): Uint8Array =>
    pb.TaskStatus.encode({ ...s, timestampMs: 0 }).finish();
  return Buffer.compare(encode(a), encode(b)) === 0;
}
