import type { NodeView } from './node-view.js';

/** The less loaded first, then the one with fewer tasks, then by id. */
export function compareLoad(a: NodeView, b: NodeView): number {
  return a.load - b.load || a.tasks - b.tasks || (a.node.id < b.node.id ? -1 : 1);
}

/** Up to this many nodes are moved one by one; more are sorted and merged with the rest. */
const FEW_MOVES = 8;

/**
 * Nodes in order of their load. Those that changed are put in their places when the order is asked
 * for.
 */
export class LoadOrder {
  #sorted: NodeView[] = [];
  readonly #touched = new Set<NodeView>();

  touch(view: NodeView): void {
    this.#touched.add(view);
  }

  drop(view: NodeView): void {
    this.#touched.delete(view);
    this.#takeOut(view);
  }

  views(): readonly NodeView[] {
    if (this.#touched.size === 0) return this.#sorted;
    if (this.#touched.size <= FEW_MOVES) {
      for (const view of this.#touched) this.#takeOut(view);
      for (const view of this.#touched) this.#insert(view);
    } else {
      const moved = [...this.#touched].sort(compareLoad);
      const kept = this.#sorted.filter((view) => !this.#touched.has(view));
      this.#sorted = merge(kept, moved);
    }
    this.#touched.clear();
    return this.#sorted;
  }

  #takeOut(view: NodeView): void {
    const at = this.#sorted.indexOf(view);
    if (at >= 0) this.#sorted.splice(at, 1);
  }

  #insert(view: NodeView): void {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const there = this.#sorted[middle];
      if (there !== undefined && compareLoad(there, view) < 0) low = middle + 1;
      else high = middle;
    }
    this.#sorted.splice(low, 0, view);
  }
}

function merge(kept: readonly NodeView[], moved: readonly NodeView[]): NodeView[] {
  const merged: NodeView[] = [];
  let next = 0;
  for (const view of moved) {
    for (let there = kept[next]; there !== undefined; there = kept[++next]) {
      if (compareLoad(there, view) > 0) break;
      merged.push(there);
    }
    merged.push(view);
  }
  for (let there = kept[next]; there !== undefined; there = kept[++next]) merged.push(there);
  return merged;
}
