import type { Node, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import type { Resources } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';
import { isAssigned } from './slots.js';

const KINDS = ['nanoCpus', 'memoryBytes', 'pids'] as const satisfies (keyof Resources)[];
const NONE: ReadonlySet<string> = new Set();

/** A node and its list of tasks are frozen, so what follows from them stays true of them. */
const memory = new WeakMap<Node, { tasks: readonly Task[]; ids: ReadonlySet<string> }>();

/**
 * Ids of the tasks that a node has no room for any more, because it has become smaller: those that
 * came last, and of lower priority first.
 */
export function crowdedOut(node: Node, snapshot: Snapshot): ReadonlySet<string> {
  const tasks = snapshot.tasksOfNode(node.id);
  const known = memory.get(node);
  if (known?.tasks === tasks) return known.ids;
  const ids = isOver(node, tasks) ? overflowOf(node, tasks) : NONE;
  memory.set(node, { tasks, ids });
  return ids;
}

function isOver({ description }: Node, tasks: readonly Task[]): boolean {
  const held = { nanoCpus: 0, memoryBytes: 0, pids: 0 };
  for (const task of tasks) {
    if (!isHolding(task)) continue;
    for (const kind of KINDS) held[kind] += task.spec.resources.reservations[kind];
  }
  return KINDS.some((kind) => held[kind] > description.resources[kind] && held[kind] > 0);
}

function overflowOf({ description }: Node, tasks: readonly Task[]): Set<string> {
  const free = { ...description.resources };
  const ids = new Set<string>();
  for (const task of tasks.filter(isHolding).sort(byClaim)) {
    const { reservations } = task.spec.resources;
    if (KINDS.some((kind) => reservations[kind] > 0 && reservations[kind] > free[kind])) {
      ids.add(task.id);
    } else {
      for (const kind of KINDS) free[kind] -= reservations[kind];
    }
  }
  return ids;
}

/** Not what only waits for room on the node that it is meant for. */
function isHolding(task: Task): boolean {
  return isAssigned(task) && !isTerminal(task.status.state);
}

function byClaim(a: Task, b: Task): number {
  return (
    b.spec.priority - a.spec.priority || a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1)
  );
}
