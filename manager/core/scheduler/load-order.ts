import type { NodeView } from './node-view.js';

/** The less loaded first, then the one with fewer tasks, then by id. */
export function compareLoad(a: NodeView, b: NodeView): number {
  return a.load - b.load || a.tasks - b.tasks || (a.node.id < b.node.id ? -1 : 1);
}

/**
 * Nodes in order of their load. Those that changed are put in their places when the order is asked
 * for: one look along the list, whether one node changed or many.
 */
export class LoadOrder {
  #sorted: NodeView[] = [];
  readonly #touched = new Set<NodeView>();

  touch(view: NodeView): void {
    this.#touched.add(view);
  }

  drop(view: NodeView): void {
    this.#touched.delete(view);
    const at = this.#sorted.indexOf(view);
    if (at >= 0) this.#sorted.splice(at, 1);
  }

  views(): readonly NodeView[] {
    if (this.#touched.size === 0) return this.#sorted;
    const moved = [...this.#touched].sort(compareLoad);
    const kept = this.#sorted.filter((view) => !this.#touched.has(view));
    this.#touched.clear();
    this.#sorted = merge(kept, moved);
    return this.#sorted;
  }
}

function merge(kept: readonly NodeView[], moved: readonly NodeView[]): NodeView[] {
  const merged: NodeView[] = [];
  let next = 0;
  for (const view of moved) {
    for (let there = kept[next]; there !== undefined; there = kept[next]) {
      if (compareLoad(there, view) > 0) break;
      merged.push(there);
      next++;
    }
    merged.push(view);
  }
  for (let there = kept[next]; there !== undefined; there = kept[++next]) merged.push(there);
  return merged;
}
