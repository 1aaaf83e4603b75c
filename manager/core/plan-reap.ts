import { STACK_LABEL } from '../../common/model/labels.js';
import type {
  Attachment,
  Network,
  Service,
  ServiceRevision,
  Task,
} from '../../common/model/objects.js';
import { isTerminal } from '../../common/model/task-state.js';
import { NodeState, TaskState, UpdateState } from '../../proto/gen/hatoba/v1/types.js';
import { hasEnded, isAssigned, isWantedTask, slotsOf, type Slot } from './orchestrator/slots.js';
import { MAX_GROUP_CHANGES } from './plan-context.js';
import { expiredRevisions } from './service/revisions.js';
import type { Change, Plan, Snapshot } from './snapshot.js';

/** From then on nobody waits for the tasks of a node that is down. */
export const ORPHAN_AFTER_MS = 24 * 3_600_000;

/**
 * Removes what has served: tasks that are to be removed and hold nothing any more, dead tasks
 * beyond the history of their slot, specs beyond the history of their service; then services,
 * networks and stacks that were removed and are used no more. A task's object is what its addresses hang on, so it goes only when its container
 * is gone, or when its node is down: a node that comes back ends every container it is not told
 * to run. Tasks whose node was removed, or is down for a day, become ORPHANED. What single
 * containers of a removed node had on networks goes with it.
 */
export function planReap(snapshot: Snapshot, nowMs: number): Plan {
  const reaper = new Reaper(snapshot, nowMs);
  for (const task of snapshot.tasks()) reaper.task(task);
  for (const service of snapshot.services()) reaper.service(service);
  for (const revision of snapshot.revisions()) reaper.revision(revision);
  for (const attachment of snapshot.attachments()) reaper.attachment(attachment);
  for (const network of snapshot.networks()) reaper.network(network);
  for (const stack of snapshot.stacks()) {
    if (stack.pendingDelete && !isStackUsed(snapshot, stack.spec.name)) {
      reaper.add({ action: 'remove', kind: 'stack', object: stack });
    }
  }
  return reaper.toPlan();
}

class Reaper {
  readonly #snapshot: Snapshot;
  readonly #nowMs: number;
  readonly #changes: Change[][] = [];
  readonly #seen = new Set<string>();
  #usedNetworks: Set<string> | undefined;
  #wakeAtMs = Infinity;

  constructor(snapshot: Snapshot, nowMs: number) {
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
  }

  add(change: Change): void {
    if (this.#seen.has(change.object.id)) return; // one change of an object in a plan
    this.#seen.add(change.object.id);
    this.#changes.push([change]);
  }

  toPlan(): Plan {
    const requeueAfterMs = this.#wakeAtMs - this.#nowMs;
    return {
      groups: this.#changes,
      ...(requeueAfterMs < Infinity ? { requeueAfterMs } : {}),
    };
  }

  task(task: Task): void {
    const hasService = this.#snapshot.service(task.serviceId) !== undefined;
    const toRemove = !hasService || task.desiredState === TaskState.REMOVE;
    if (toRemove && (hasEnded(task) || task.nodeId === '' || this.#isNodeGoneOrDown(task))) {
      this.add({ action: 'remove', kind: 'task', object: task });
    } else if (this.#isOrphaned(task)) {
      this.add({ action: 'update', kind: 'task', object: orphaned(task, this.#nowMs) });
    } else if (toRemove && task.desiredState !== TaskState.REMOVE) {
      const object = {
        ...task,
        desiredState: TaskState.REMOVE,
        desiredSinceMs: this.#nowMs,
        desiredReason: 'its service was removed',
      };
      this.add({ action: 'update', kind: 'task', object });
    }
  }

  service(service: Service): void {
    const tasks = this.#snapshot.tasksOfService(service.id);
    if (service.pendingDelete && tasks.length === 0) {
      this.#removeService(service);
      return;
    }
    for (const object of expiredRevisions(this.#snapshot, service)) {
      this.add({ action: 'remove', kind: 'revision', object });
    }
    const keep = historyOf(this.#snapshot, service);
    for (const slot of slotsOf(tasks, 2)) {
      for (const task of expired(slot, keep)) {
        this.add({ action: 'remove', kind: 'task', object: task });
      }
    }
  }

  /** More than fit into the transaction that removed their service. */
  revision(object: ServiceRevision): void {
    if (this.#snapshot.service(object.serviceId) !== undefined) return;
    this.add({ action: 'remove', kind: 'revision', object });
  }

  /** With its history. */
  #removeService(service: Service): void {
    const revisions = this.#snapshot.revisionsOfService(service.id);
    this.#changes.push([
      { action: 'remove', kind: 'service', object: service },
      ...revisions
        .slice(1 - MAX_GROUP_CHANGES)
        .map((object): Change => ({ action: 'remove', kind: 'revision', object })),
    ]);
  }

  network(network: Network): void {
    if (!network.pendingDelete) return;
    this.#usedNetworks ??= usedNetworks(this.#snapshot);
    if (this.#usedNetworks.has(network.id)) return;
    this.add({ action: 'remove', kind: 'network', object: network });
  }

  /** A node that is down keeps its containers and their addresses; a removed one is told of none. */
  attachment(attachment: Attachment): void {
    if (this.#snapshot.node(attachment.nodeId) !== undefined) return;
    this.add({ action: 'remove', kind: 'attachment', object: attachment });
  }

  #isNodeGoneOrDown(task: Task): boolean {
    const node = this.#snapshot.node(task.nodeId);
    return node === undefined || node.status.state === NodeState.DOWN;
  }

  #isOrphaned(task: Task): boolean {
    if (task.nodeId === '' || isTerminal(task.status.state)) return false;
    const node = this.#snapshot.node(task.nodeId);
    if (node === undefined) return true;
    if (node.status.state !== NodeState.DOWN) return false;
    const atMs = node.status.stateChangedAtMs + ORPHAN_AFTER_MS;
    if (atMs <= this.#nowMs) return true;
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs);
    return false;
  }
}

function orphaned(task: Task, nowMs: number): Task {
  const message = 'its node is lost';
  const status = { ...task.status, state: TaskState.ORPHANED, timestampMs: nowMs, message };
  return { ...task, status };
}

/**
 * Dead tasks to keep per slot: the cluster's limit, but never fewer than an update in progress has to
 * judge. What the restart policy counts is handed on from task to task.
 */
function historyOf(snapshot: Snapshot, service: Service): number {
  const limit = snapshot.cluster()?.spec.taskHistoryLimit ?? 0;
  const state = service.updateStatus?.state;
  const updating = state === UpdateState.UPDATING || state === UpdateState.ROLLBACK_STARTED;
  return Math.max(limit, updating ? 1 : 0);
}

/** The newest task of a slot always stays: it says how the slot ended, and which number is next. */
function expired(slot: Slot, keep: number): Task[] {
  const dead = slot.tasks.slice(0, -1).filter((t) => !isWantedTask(t) && hasEnded(t));
  const neverAssigned = dead.filter((t) => !isAssigned(t));
  const history = dead.filter(isAssigned);
  return [...neverAssigned, ...history.slice(0, Math.max(0, history.length - keep))];
}

/** Networks that a service asks for, also one being removed, or that something is attached to. */
function usedNetworks(snapshot: Snapshot): Set<string> {
  const used = new Set<string>();
  for (const { spec } of snapshot.services()) {
    for (const { target } of spec.taskTemplate.networks) used.add(target);
  }
  for (const task of snapshot.tasks()) {
    for (const { target } of task.spec.networks) used.add(target);
    for (const { networkId } of task.networksAttachments) used.add(networkId);
  }
  for (const { networkId } of snapshot.attachments()) used.add(networkId);
  return used;
}

function isStackUsed(snapshot: Snapshot, stack: string): boolean {
  const isOfStack = (o: { spec: { labels: Readonly<Record<string, string>> } }): boolean =>
    o.spec.labels[STACK_LABEL] === stack;
  for (const service of snapshot.services()) if (isOfStack(service)) return true;
  for (const network of snapshot.networks()) if (isOfStack(network)) return true;
  return false;
}
