import { isSettling } from '../node-trust.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';
import type { SchedulerState } from './state.js';
import { unwelcomeTaints } from './taints.js';
import { sumOf, type Wish } from './wishes.js';

/** Nodes whose loads differ by less are alike where one of them has the image. */
const IMAGE_WORTH_LOAD = 0.1;

/**
 * The order of nodes for one more task of a class, the best first:
 * 1. not one where its tasks keep failing, nor one that comes and goes and is back for a moment;
 * 2. the one with fewest taints that would rather have it elsewhere;
 * 3. the one that fulfils more of its wishes, by weight;
 * 4. spread: the one with fewest tasks of its service, then the one with the smaller share of its
 *    resources taken; binpack: the fullest one that is not yet full;
 * 5. among nodes alike in that, one that has the image;
 * 6. fewer tasks, then by id.
 * What is spread over values of labels comes between 3 and 4, see bins.ts.
 */
export class Ranking {
  readonly #request: PlacementRequest;
  readonly #nowMs: number;
  readonly #wishes: readonly Wish[];
  /** Undefined where no node has it. */
  readonly #image: string | undefined;

  /** @param wishes those that depend on the node alone */
  constructor(
    request: PlacementRequest,
    state: SchedulerState,
    nowMs: number,
    wishes: readonly Wish[],
  ) {
    this.#request = request;
    this.#nowMs = nowMs;
    this.#wishes = wishes;
    const { image } = request.task.spec.containerSpec;
    this.#image = state.nodes.withImage(image).length > 0 ? image : undefined;
  }

  /** Negative if `a` is better. */
  compare(a: NodeView, b: NodeView): number {
    return (
      this.reluctance(a) - this.reluctance(b) ||
      this.wish(b) - this.wish(a) ||
      this.compareRoom(a, b)
    );
  }

  /** 1 and 2; 0 = nothing speaks against the node. */
  reluctance(view: NodeView): number {
    if (!view.isSuspect) return 0;
    const { taskClass, task } = this.#request;
    const failing = view.isFailing(taskClass, this.#nowMs) ? 1e6 : 0;
    const settling = isSettling(view.node, this.#nowMs) ? 1e5 : 0;
    return failing + settling + unwelcomeTaints(view.node, task.spec.placement.tolerations);
  }

  /** 3 */
  wish(view: NodeView): number {
    return this.#wishes.length === 0 ? 0 : sumOf(this.#wishes, view);
  }

  /** 4 to 6 */
  compareRoom(a: NodeView, b: NodeView): number {
    const { isBinpack, task } = this.#request;
    if (isBinpack) {
      const areFull = Number(a.load >= 1) - Number(b.load >= 1);
      return areFull || this.#compareLoad(a, b, a.load >= 1 ? 1 : -1);
    }
    const { serviceId } = task;
    return a.tasksOfService(serviceId) - b.tasksOfService(serviceId) || this.#compareLoad(a, b, 1);
  }

  /** @param sign 1 = the less loaded first, -1 = the more loaded */
  #compareLoad(a: NodeView, b: NodeView, sign: 1 | -1): number {
    const image = this.#image;
    const byImage =
      image === undefined
        ? 0
        : sign * (levelOf(a) - levelOf(b)) || Number(b.hasImage(image)) - Number(a.hasImage(image));
    return (
      byImage ||
      sign * (a.load - b.load) ||
      sign * (a.tasks - b.tasks) ||
      (a.node.id < b.node.id ? -1 : 1)
    );
  }
}

function levelOf({ load }: NodeView): number {
  return Math.floor(load / IMAGE_WORTH_LOAD);
}
