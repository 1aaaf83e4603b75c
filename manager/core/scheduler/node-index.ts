import type { Node } from '../../../common/model/objects.js';
import { sortOut, type Check } from './filters/check.js';
import { staticChecks } from './filters/static-filters.js';
import { LoadOrder } from './load-order.js';
import { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';

/** Nodes that the lasting filters let pass, and those that they do not: no placement changes that. */
export interface EligibleNodes {
  readonly views: readonly NodeView[];
  readonly set: ReadonlySet<NodeView>;
  /** All others, by the first filter they fail. */
  readonly failures: ReadonlyMap<Check, readonly NodeView[]>;
}

/** All nodes, and what follows from them as they are; worked out when it is asked for. */
export class NodeIndex {
  readonly #views = new Map<string, NodeView>();
  readonly #byLoad = new LoadOrder();
  #sorted: readonly NodeView[] | undefined;
  #images: Map<string, NodeView[]> | undefined;
  /** PlacementRequest.signature → nodes. */
  readonly #eligible = new Map<string, EligibleNodes>();

  get(nodeId: string): NodeView | undefined {
    return this.#views.get(nodeId);
  }

  /** A new view takes the place of the one of the same node. */
  put(node: Node): NodeView {
    this.delete(node.id);
    const view = new NodeView(node);
    this.#views.set(node.id, view);
    this.#byLoad.touch(view);
    return view;
  }

  delete(nodeId: string): void {
    const view = this.#views.get(nodeId);
    if (view !== undefined) this.#byLoad.drop(view);
    this.#views.delete(nodeId);
    this.#sorted = undefined;
    this.#images = undefined;
    this.#eligible.clear();
  }

  /** To be called when the load of a node has changed. */
  touch(view: NodeView): void {
    this.#byLoad.touch(view);
  }

  /** In order of id. */
  views(): readonly NodeView[] {
    this.#sorted ??= [...this.#views.values()].sort((a, b) => (a.node.id < b.node.id ? -1 : 1));
    return this.#sorted;
  }

  /** The least loaded first. */
  byLoad(): readonly NodeView[] {
    return this.#byLoad.views();
  }

  withImage(image: string): readonly NodeView[] {
    this.#images ??= this.#indexImages();
    return this.#images.get(image) ?? [];
  }

  /** The nodes that the lasting filters let pass; worked out once for all classes alike. */
  eligible(request: PlacementRequest): EligibleNodes {
    const known = this.#eligible.get(request.signature);
    if (known !== undefined) return known;
    const { views, failures } = sortOut(this.views(), staticChecks(request));
    const eligible = { views, set: new Set(views), failures };
    this.#eligible.set(request.signature, eligible);
    return eligible;
  }

  #indexImages(): Map<string, NodeView[]> {
    const images = new Map<string, NodeView[]>();
    for (const view of this.views()) {
      for (const image of view.node.description.images) {
        const there = images.get(image);
        if (there === undefined) images.set(image, [view]);
        else there.push(view);
      }
    }
    return images;
  }
}
