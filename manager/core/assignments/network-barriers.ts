import type { Node, Task } from '../../../common/model/objects.js';
import { isWanted, rankOf } from '../../../common/model/task-state.js';
import { NodeState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { ShownRevisions } from './shown-revisions.js';

/** How long an order waits for nodes that say nothing, where the cluster's spec does not tell. */
export const DEFAULT_NETWORK_WAIT_MS = 5000;

/** An order that a task's node is not given yet. */
interface Wait {
  readonly task: Pick<Task, 'id' | 'nodeId'>;
  readonly kind: 'start' | 'stop';
  /** Every node's kernel is to show this store revision, or a later one. */
  readonly revision: number;
  readonly deadlineMs: number;
  /** What the node goes on seeing. */
  readonly meanwhile: TaskState;
}

/** When something was seen, and how long it may be waited for. */
export interface Patience {
  readonly nowMs: number;
  readonly waitMs: number;
}

/**
 * Keeps an order from a task's node until the networks are ready for it.
 * 1. `stop`: a running task is wanted no more. From the revision on that says so no node sends it
 *    new connections; it is told when every node's kernel shows that revision.
 * 2. `start`: a task was given its node. It runs when every node's kernel shows the revision that
 *    has it and its addresses, so that whoever it talks to can answer.
 * 3. Each waits for the nodes that are ready, and until its deadline at most. Nodes that join are
 *    waited for from their first word on: before it nothing in their kernels leads anywhere.
 * 4. What was let go stays so: a task waits at most once for each.
 */
export class NetworkBarriers {
  readonly #waits = new Map<string, Wait>();
  readonly #shown = new ShownRevisions();
  readonly #joining = new Set<string>();
  /** Not above the revisions and deadlines of all waits, so that most events need not look at them. */
  #leastRevision = Infinity;
  #firstDeadlineMs = Infinity;
  /** What the clock said last. */
  #nowMs = -Infinity;

  /** When something is to be let go without any word of a node; Infinity: never. */
  get firstDeadlineMs(): number {
    return this.#waits.size === 0 ? Infinity : this.#firstDeadlineMs;
  }

  /** @param before undefined: it is new here, though it may have been for long */
  onTask(task: Task, before: Task | undefined, { nowMs, waitMs }: Patience): void {
    this.#followClock(nowMs);
    const kind = waitOf(task);
    const present = this.#waits.get(task.id);
    if (present !== undefined && present.kind !== kind) this.#waits.delete(task.id);
    if (kind === undefined || present?.kind === kind || !begins(kind, before)) return;
    // What was seen to change is timed by this clock; the one that wrote it may be another's.
    const sinceMs = before === undefined ? Math.min(nowMs, sinceOf(kind, task, nowMs)) : nowMs;
    const meanwhile =
      kind === 'start' ? TaskState.READY : (before?.desiredState ?? TaskState.RUNNING);
    const deadlineMs = sinceMs + waitMs;
    if (deadlineMs <= nowMs || task.version <= this.#shown.least) return;
    this.#waits.set(task.id, { task, kind, revision: task.version, deadlineMs, meanwhile });
    this.#leastRevision = Math.min(this.#leastRevision, task.version);
    this.#firstDeadlineMs = Math.min(this.#firstDeadlineMs, deadlineMs);
  }

  onTaskGone(taskId: string): void {
    this.#waits.delete(taskId);
  }

  /** @param isNew whether the node has just come into being, rather than come back */
  onNode({ id, status }: Node, isNew: boolean): void {
    if (status.state !== NodeState.READY) this.onNodeGone(id);
    else if (isNew) this.#joining.add(id);
    else if (!this.#joining.has(id)) this.#shown.raise(id, 0);
  }

  onNodeGone(nodeId: string): void {
    this.#joining.delete(nodeId);
    this.#shown.delete(nodeId);
  }

  /**
   * The node's kernel shows `revision`; 0 says nothing, nor does what a node says that is not ready.
   */
  onShown(nodeId: string, revision: number): void {
    if (revision === 0) return;
    if (!this.#shown.has(nodeId) && !this.#joining.delete(nodeId)) return;
    this.#shown.raise(nodeId, revision);
  }

  /**
   * Lets go what has waited for long enough.
   * @returns the nodes that are to be told
   */
  release(nowMs: number): ReadonlySet<string> {
    this.#followClock(nowMs);
    const nodes = new Set<string>();
    const isDue = this.#shown.least >= this.#leastRevision || nowMs >= this.#firstDeadlineMs;
    if (!isDue || this.#waits.size === 0) return nodes;
    this.#leastRevision = Infinity;
    this.#firstDeadlineMs = Infinity;
    for (const [taskId, { task, revision, deadlineMs }] of this.#waits) {
      if (revision <= this.#shown.least || deadlineMs <= nowMs) {
        this.#waits.delete(taskId);
        nodes.add(task.nodeId);
      } else {
        this.#leastRevision = Math.min(this.#leastRevision, revision);
        this.#firstDeadlineMs = Math.min(this.#firstDeadlineMs, deadlineMs);
      }
    }
    return nodes;
  }

  /** An order does not wait for longer because the clock was set back. */
  #followClock(nowMs: number): void {
    const backMs = this.#nowMs - nowMs;
    this.#nowMs = nowMs;
    if (backMs <= 0) return;
    this.#firstDeadlineMs -= backMs;
    for (const [taskId, wait] of this.#waits) {
      this.#waits.set(taskId, { ...wait, deadlineMs: wait.deadlineMs - backMs });
    }
  }

  /** The desired state that the task's node is to see by now. */
  desiredFor(task: Task): TaskState {
    const wait = this.#waits.get(task.id);
    const isEarlier = wait !== undefined && rankOf(wait.meanwhile) < rankOf(task.desiredState);
    return isEarlier ? wait.meanwhile : task.desiredState;
  }

  /** The nodes that an order for the task waits for; undefined when it waits for none. */
  awaited(taskId: string): { kind: 'start' | 'stop'; nodeIds: readonly string[] } | undefined {
    const wait = this.#waits.get(taskId);
    if (wait === undefined) return undefined;
    return { kind: wait.kind, nodeIds: this.#shown.behind(wait.revision) };
  }
}

/** What the task, as it is, may have to wait for. */
function waitOf(task: Task): Wait['kind'] | undefined {
  if (!task.networksAttachments.some((a) => a.addresses.length > 0)) return undefined;
  const { state } = task.status;
  if (!isWanted(task.desiredState)) return state === TaskState.RUNNING ? 'stop' : undefined;
  const isOnItsWay =
    rankOf(state) >= rankOf(TaskState.ASSIGNED) && rankOf(state) < rankOf(TaskState.STARTING);
  return isOnItsWay ? 'start' : undefined;
}

/** Whether a wait begins with what came after `before`: not when its order has gone out already. */
function begins(kind: Wait['kind'], before: Task | undefined): boolean {
  if (before === undefined) return true;
  return kind === 'start' ? waitOf(before) === undefined : isWanted(before.desiredState);
}

function sinceOf(kind: Wait['kind'], task: Task, nowMs: number): number {
  return kind === 'stop' ? task.desiredSinceMs : nowMs;
}
