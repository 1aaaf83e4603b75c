import type { NodeView } from './node-view.js';

/** Nodes in order of their number of tasks, kept in order as tasks are placed one by one. */
export class LoadOrder {
  /** By number of tasks; within one number in the order of arrival there. */
  readonly #levels: Set<NodeView>[] = [];
  readonly #levelOf = new Map<NodeView, Set<NodeView>>();

  constructor(views: readonly NodeView[]) {
    for (const view of views) this.update(view);
  }

  /** To be called when the number of tasks of a node has changed. */
  update(view: NodeView): void {
    this.#levelOf.get(view)?.delete(view);
    const level = (this.#levels[view.tasks] ??= new Set());
    level.add(view);
    this.#levelOf.set(view, level);
  }

  /** The first node, by least tasks, that passes the test. */
  find(test: (view: NodeView) => boolean): NodeView | undefined {
    for (const level of this.#levels as (Set<NodeView> | undefined)[]) {
      if (level === undefined) continue; // no node has this number of tasks
      for (const view of level) if (test(view)) return view;
    }
    return undefined;
  }
}
