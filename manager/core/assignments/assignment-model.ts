import type { Task } from '../../../common/model/objects.js';
import { isTerminal, rankOf } from '../../../common/model/task-state.js';
import {
  AssignmentAction,
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
  type AssignmentChange,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { TaskState, Task as TaskMessage } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { NetworkParts, type AssignmentItem, type Part } from './network-parts.js';
import type { Snapshot } from '../snapshot.js';

/**
 * Everything one node must know: its own tasks, and the parts it shares with others. A part that
 * did not change from one revision to the next is the same object.
 */
export interface NodeAssignments {
  readonly tasks: Part;
  readonly shared: ReadonlyMap<string, Part>;
}

/** Every item of a node, by what names it. */
export function itemsOf({ tasks, shared }: NodeAssignments): Part {
  return new Map([...shared.values(), tasks].flatMap((part) => [...part]));
}

/**
 * Says what each node must know, and what changed of it. The parts are worked out once per
 * revision for all nodes, and of what stayed the same only the identity is looked at, so that the
 * effort follows what changed rather than the size of the cluster.
 */
export class AssignmentModel {
  #revision = -1;
  #snapshot: Snapshot | undefined;
  readonly #parts = new NetworkParts();
  readonly #orders = new WeakMap<Task, TaskMessage>();
  /** Part → the changes that led from it to another, for all the nodes that have it. */
  readonly #changes = new WeakMap<Part, { after: Part; changes: readonly AssignmentChange[] }>();

  /**
   * Tasks from ASSIGNED until their object is gone; networks with a task of this node that has not
   * ended or a container of its own, and ingress networks; an endpoint from ASSIGNED until its task
   * has ended.
   * @param desiredFor the desired state that the node is to see of a task by now
   */
  stateOf(
    snapshot: Snapshot,
    nodeId: string,
    desiredFor: (task: Task) => TaskState = (task) => task.desiredState,
  ): NodeAssignments {
    this.#refresh(snapshot);
    const tasks = new Map<string, AssignmentItem>();
    const networkIds = new Set<string>();
    for (const task of snapshot.tasksOfNode(nodeId)) {
      if (rankOf(task.status.state) < rankOf(TaskState.ASSIGNED)) continue;
      tasks.set(`task ${task.id}`, this.#orderOf(snapshot, task, desiredFor(task)));
      if (isTerminal(task.status.state)) continue;
      for (const { networkId } of task.networksAttachments) networkIds.add(networkId);
    }
    const shared = new Map<string, Part>();
    for (const key of this.#parts.keysFor(nodeId, networkIds)) {
      const part = this.#parts.part(key);
      if (part !== undefined) shared.set(key, part);
    }
    return { tasks, shared };
  }

  /**
   * What leads from one state to another: removals, then networks before what is on them, tasks
   * last, so that a task never comes before its network.
   * @param before undefined: the node knows nothing yet
   */
  diff(before: NodeAssignments | undefined, after: NodeAssignments): AssignmentChange[] {
    const changes: AssignmentChange[] = [];
    for (const [id, part] of before?.shared ?? []) {
      if (!after.shared.has(id)) changes.push(...diffParts(part, NOTHING));
    }
    for (const [id, part] of after.shared) {
      changes.push(...this.#partChanges(before?.shared.get(id) ?? NOTHING, part));
    }
    changes.push(...diffParts(before?.tasks ?? NOTHING, after.tasks));
    return changes.sort((a, b) => orderOf(a) - orderOf(b));
  }

  #partChanges(before: Part, after: Part): readonly AssignmentChange[] {
    if (before === after) return [];
    const known = this.#changes.get(before);
    if (known?.after === after) return known.changes;
    const changes = diffParts(before, after);
    this.#changes.set(before, { after, changes });
    return changes;
  }

  /** The task as its node is to see it; the same object while nothing of it changes. */
  #orderOf(snapshot: Snapshot, task: Task, desiredState: TaskState): AssignmentItem {
    const drainMs = snapshot.service(task.serviceId)?.spec.endpointSpec.drainMs ?? DEFAULT_DRAIN_MS;
    const known = this.#orders.get(task);
    if (known?.desiredState === desiredState && known.drainMs === drainMs) {
      return { $case: 'task', value: known };
    }
    const value = { ...task, desiredState, drainMs };
    this.#orders.set(task, value);
    return { $case: 'task', value };
  }

  #refresh(snapshot: Snapshot): void {
    if (this.#snapshot === snapshot && this.#revision === snapshot.revision) return;
    this.#parts.refresh(snapshot);
    this.#snapshot = snapshot;
    this.#revision = snapshot.revision;
  }
}

/** How long a task's open connections may go on, where its service does not say. */
const DEFAULT_DRAIN_MS = 5000;
const NOTHING: Part = new Map();

function diffParts(before: Part, after: Part): AssignmentChange[] {
  const changes: AssignmentChange[] = [];
  for (const [key, item] of before) {
    if (!after.has(key)) changes.push({ action: AssignmentAction.REMOVE, item: identityOf(item) });
  }
  for (const [key, item] of after) {
    const old = before.get(key);
    if (old !== undefined && isSameForNode(old, item)) continue;
    changes.push({ action: AssignmentAction.UPDATE, item });
  }
  return changes;
}

const ORDER: Readonly<Record<AssignmentItem['$case'], number>> = {
  peer: 1,
  network: 2,
  service: 3,
  endpoint: 4,
  task: 5,
};

function orderOf({ action, item }: AssignmentChange): number {
  return action === AssignmentAction.REMOVE ? 0 : ORDER[item?.$case ?? 'task'];
}

/** A task's status is the node's own report, so it need not be told of it. */
function isSameForNode(a: AssignmentItem, b: AssignmentItem): boolean {
  if (a.value === b.value) return true;
  if (a.$case === 'task' && b.$case === 'task') return sameOrders(a.value, b.value);
  return equalData(a, b);
}

function sameOrders(a: TaskMessage, b: TaskMessage): boolean {
  return (
    a.desiredState === b.desiredState &&
    a.startAfterMs === b.startAfterMs &&
    a.drainMs === b.drainMs &&
    equalData(a.spec, b.spec) &&
    equalData(a.networksAttachments, b.networksAttachments) &&
    equalData(a.hostPorts, b.hostPorts)
  );
}

/** The item with only what names it. */
function identityOf(item: AssignmentItem): AssignmentItem {
  switch (item.$case) {
    case 'task':
      return { $case: 'task', value: TaskMessage.fromPartial({ id: item.value.id }) };
    case 'network': {
      const { networkId } = item.value;
      return { $case: 'network', value: NetworkConfig.fromPartial({ networkId }) };
    }
    case 'endpoint': {
      const { networkId, taskId } = item.value;
      return { $case: 'endpoint', value: NetworkEndpoint.fromPartial({ networkId, taskId }) };
    }
    case 'service': {
      const { networkId, serviceId } = item.value;
      return { $case: 'service', value: NetworkService.fromPartial({ networkId, serviceId }) };
    }
    case 'peer':
      return { $case: 'peer', value: NetworkPeer.fromPartial({ nodeId: item.value.nodeId }) };
  }
}
