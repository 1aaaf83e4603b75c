import type { Task } from '../../../common/model/objects.js';
import { isWanted } from '../../../common/model/task-state.js';
import { groupBy } from '../group-by.js';
import type { Snapshot } from '../snapshot.js';
import { valueOf } from './constraint.js';
import { Heap } from './heap.js';
import type { LoadOrder } from './load-order.js';
import type { NodeView } from './node-view.js';
import { compareNodes } from './rank.js';
import type { PlacementRequest } from './request.js';

/**
 * Chooses nodes for the tasks of one group, one after the other. `pick` finds the best node that
 * still passes `fits` and counts the task there.
 */
export interface Picker {
  pick(task: Task): NodeView | undefined;
}

type Fits = (view: NodeView) => boolean;

/** Takes from a heap; the effort per task grows with the logarithm of the nodes. */
export class HeapPicker implements Picker {
  readonly #heap: Heap<NodeView>;
  readonly #fits: Fits;

  constructor(views: readonly NodeView[], request: PlacementRequest, fits: Fits) {
    this.#heap = new Heap(views, (a, b) => compareNodes(a, b, request));
    this.#fits = fits;
  }

  /** The node `pick` would take next. */
  peek(): NodeView | undefined {
    for (let view = this.#heap.top(); view !== undefined; view = this.#heap.top()) {
      if (this.#fits(view)) return view;
      this.#heap.dropTop(); // what is used up does not come back within a pass
    }
    return undefined;
  }

  pick(task: Task): NodeView | undefined {
    const view = this.peek();
    view?.add(task);
    this.#heap.sinkTop();
    return view;
  }
}

/** Looks at every node for each task. */
export class ScanPicker implements Picker {
  readonly #views: readonly NodeView[];
  readonly #request: PlacementRequest;
  readonly #fits: (view: NodeView, task: Task) => boolean;

  constructor(
    views: readonly NodeView[],
    request: PlacementRequest,
    fits: (view: NodeView, task: Task) => boolean,
  ) {
    this.#views = views;
    this.#request = request;
    this.#fits = fits;
  }

  pick(task: Task): NodeView | undefined {
    let best: NodeView | undefined;
    for (const view of this.#views) {
      if (best !== undefined && compareNodes(best, view, this.#request) < 0) continue;
      if (this.#fits(view, task)) best = view;
    }
    best?.add(task);
    return best;
  }
}

/**
 * For a few tasks: the least loaded node without a task of the service is the best there is, and
 * quickly found. Only where no such node fits is every node looked at.
 */
export class FewPicker implements Picker {
  readonly #byLoad: LoadOrder;
  readonly #request: PlacementRequest;
  readonly #fits: Fits;
  readonly #eligible: () => readonly NodeView[];

  /** @param eligible the nodes to look at if it comes to that */
  constructor(
    byLoad: LoadOrder,
    request: PlacementRequest,
    fits: Fits,
    eligible: () => readonly NodeView[],
  ) {
    this.#byLoad = byLoad;
    this.#request = request;
    this.#fits = fits;
    this.#eligible = eligible;
  }

  pick(task: Task): NodeView | undefined {
    const { failureKey } = this.#request;
    const view = this.#byLoad.find(
      (v) => v.tasksOfService(task.serviceId) === 0 && !v.isFailing(failureKey) && this.#fits(v),
    );
    if (view === undefined) {
      return new ScanPicker(this.#eligible(), this.#request, this.#fits).pick(task);
    }
    view.add(task);
    return view;
  }
}

/** The nodes with one value of a label, and how many tasks of the service they have. */
interface Branch {
  picker: Picker & { peek(): NodeView | undefined };
  tasks: number;
}

/**
 * Spreads over the values of a label first, equally whatever the number of nodes behind each, then
 * by the next label, then by node. A missing label is a value of its own.
 */
export class SpreadPicker implements Picker {
  readonly #branches: readonly Branch[];

  constructor(
    views: readonly NodeView[],
    request: PlacementRequest,
    fits: Fits,
    spreadKeys: readonly string[] = request.spreadKeys,
  ) {
    const [key = '', ...inner] = spreadKeys;
    const byValue = groupBy(views, (v) => valueOf(v.node, key));
    this.#branches = [...byValue.values()].map((members) => ({
      picker:
        inner.length > 0
          ? new SpreadPicker(members, request, fits, inner)
          : new HeapPicker(members, request, fits),
      tasks: members.reduce((sum, v) => sum + v.tasksOfService(request.task.serviceId), 0),
    }));
  }

  peek(): NodeView | undefined {
    return this.#best()?.picker.peek();
  }

  pick(task: Task): NodeView | undefined {
    const branch = this.#best();
    if (branch === undefined) return undefined;
    branch.tasks++;
    return branch.picker.pick(task);
  }

  #best(): Branch | undefined {
    return this.#branches
      .filter((b) => b.picker.peek() !== undefined)
      .reduce<Branch | undefined>(
        (best, b) => (best === undefined || b.tasks < best.tasks ? b : best),
        undefined,
      );
  }
}

/**
 * Counts the slots of a service on each node for its limit of replicas per node. A slot counts
 * once: while an update starts the new task before it stops the old, the new one may take the old
 * one's place on the same node.
 */
export class SlotCounter {
  readonly #slots = new Map<string, Set<number>>();

  constructor(snapshot: Snapshot, serviceId: string) {
    for (const task of snapshot.tasksOfService(serviceId)) {
      if (task.nodeId !== '' && isWanted(task.desiredState)) this.add(task.nodeId, task.slot);
    }
  }

  add(nodeId: string, slot: number): void {
    const slots = this.#slots.get(nodeId);
    if (slots === undefined) this.#slots.set(nodeId, new Set([slot]));
    else slots.add(slot);
  }

  othersThan(slot: number, nodeId: string): number {
    const slots = this.#slots.get(nodeId);
    if (slots === undefined) return 0;
    return slots.size - Number(slots.has(slot));
  }
}
