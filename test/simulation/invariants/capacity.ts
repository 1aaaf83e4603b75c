import type { Node, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { isAssigned, isWantedTask } from '../../../manager/core/orchestrator/slots.js';
import { NodeState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';
import { nameOf } from './ownership.js';

/** The view of a leader that is cut off from the store may be so much behind. */
const VIEW_BEHIND_MS = 3000;
const RESOURCES = ['nanoCpus', 'memoryBytes', 'pids'] as const;

/** What a node is given never is more than it has, nor more of one service than that allows. */
export class Capacity implements Invariant {
  check(commit: Commit, { view }: Facts): void {
    for (const change of commit.changes) {
      if (change.kind !== 'task' || change.type === 'delete') continue;
      const { object: task, previous } = change;
      if (!isAssigned(task) || (previous !== undefined && isAssigned(previous))) continue;
      const node = view.node(task.nodeId);
      if (node === undefined || node.status.state === NodeState.DOWN) continue;
      const held = view
        .tasksOfNode(node.id)
        .filter((t) => isAssigned(t) && !isTerminal(t.status.state));
      const staying = held.filter((t) => isWantedTask(t) || !givesWay(t, task));
      checkResources(task, node, staying);
      checkHostPorts(task, node, staying);
      checkMaxReplicas(task, node, held);
      const isNews = task.updatedAtMs - node.updatedAtMs < VIEW_BEHIND_MS;
      if (!isNews) checkConstraints(task, node); // else it is moved as soon as the leader has seen
    }
  }
}

/** What is on its way out may be there still when a task of a higher priority is given its place. */
function givesWay(old: Task, task: Task): boolean {
  return old.spec.priority < task.spec.priority;
}

function checkResources(task: Task, node: Node, held: readonly Task[]): void {
  for (const resource of RESOURCES) {
    const sum = held.reduce((s, t) => s + t.spec.resources.reservations[resource], 0);
    if (task.spec.resources.reservations[resource] === 0) continue;
    const there = node.description.resources[resource];
    if (sum > there) {
      throw new Violation(
        'resources',
        `${nameOf(task)} brings ${node.id} to ${sum} of ${there} ${resource}`,
      );
    }
  }
}

function checkHostPorts(task: Task, node: Node, held: readonly Task[]): void {
  const own = new Set(task.hostPorts.map((p) => `${p.publishedPort}/${p.protocol}`));
  for (const other of held) {
    if (other.id === task.id) continue;
    const shared = other.hostPorts.find((p) => own.has(`${p.publishedPort}/${p.protocol}`));
    if (shared === undefined) continue;
    const what = `${nameOf(task)} and ${nameOf(other)} on ${node.id} share ${shared.publishedPort}`;
    throw new Violation('host-port', what);
  }
}

function checkMaxReplicas(task: Task, node: Node, held: readonly Task[]): void {
  const { maxReplicas } = task.spec.placement;
  if (maxReplicas === 0) return;
  // others of the service may be of a spec that knows no limit
  const ofSpec = (t: Task): boolean =>
    t.serviceId === task.serviceId && t.spec.placement.maxReplicas === maxReplicas;
  const wanted = held.filter((t) => ofSpec(t) && isWantedTask(t));
  const slots = new Set(wanted.map((t) => t.slot)).size; // who takes over from another counts once
  if (slots <= maxReplicas) return;
  throw new Violation('max-replicas', `${nameOf(task)} is in slot ${slots} on ${node.id}`);
}

/** Of the simple kind alone: "node.labels.zone==a". */
function checkConstraints(task: Task, node: Node): void {
  for (const constraint of task.spec.placement.constraints) {
    const [, label, operator, value] = /^node\.labels\.(\w+)(==|!=)(\w+)$/.exec(constraint) ?? [];
    if (label === undefined) continue;
    const isEqual = node.spec.labels[label] === value;
    if (isEqual === (operator === '==')) continue;
    throw new Violation('constraint', `${nameOf(task)} on ${node.id} in spite of ${constraint}`);
  }
}
