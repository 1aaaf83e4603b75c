import { familiarImageName } from '../../../common/model/image-name.js';
import { isSettling } from '../node-trust.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';
import type { SchedulerState } from './state.js';
import { unwelcomeTaints } from './taints.js';
import { sumOf, type Wish } from './wishes.js';

/** Nodes whose loads differ by less are alike where one of them has the image. */
const IMAGE_WORTH_LOAD = 0.1;

/** A node as it compares with others at one moment; of each number the smaller is better. */
export interface Ranked {
  readonly view: NodeView;
  readonly reluctance: number;
  readonly unfulfilled: number;
  readonly crowd: number;
  readonly level: number;
  readonly imageless: number;
  readonly load: number;
  readonly tasks: number;
}

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
 *
 * What a node is worth is worked out once and changes only with a task placed there.
 */
export class Ranking {
  readonly #request: PlacementRequest;
  readonly #nowMs: number;
  readonly #wishes: readonly Wish[];
  /** As nodes call it; empty where none has it. */
  readonly image: string;

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
    const image = familiarImageName(request.task.spec.containerSpec.image);
    this.image = state.nodes.withImage(image).length > 0 ? image : '';
  }

  rank(view: NodeView): Ranked {
    const { isBinpack, task } = this.#request;
    const isFull = view.load >= 1;
    const sign = isBinpack && !isFull ? -1 : 1;
    const { image } = this;
    return {
      view,
      reluctance: this.reluctance(view),
      unfulfilled: this.#wishes.length === 0 ? 0 : -sumOf(this.#wishes, view),
      crowd: isBinpack ? Number(isFull) : view.tasksOfService(task.serviceId),
      level: image === '' ? 0 : sign * Math.floor(view.load / IMAGE_WORTH_LOAD),
      imageless: image === '' ? 0 : Number(!view.hasImage(image)),
      load: sign * view.load,
      tasks: sign * view.tasks,
    };
  }

  /** 1 and 2; 0 = nothing speaks against the node. */
  reluctance(view: NodeView): number {
    if (!view.isSuspect) return 0;
    const { taskClass, task } = this.#request;
    const failing = view.isFailing(taskClass, this.#nowMs) ? 1e6 : 0;
    const settling = isSettling(view.node, this.#nowMs) ? 1e5 : 0;
    return failing + settling + unwelcomeTaints(view.node, task.spec.placement.tolerations);
  }
}

/** Negative if `a` is better. */
export function compareRanked(a: Ranked, b: Ranked): number {
  return a.reluctance - b.reluctance || a.unfulfilled - b.unfulfilled || compareRoom(a, b);
}

/** 4 to 6 */
export function compareRoom(a: Ranked, b: Ranked): number {
  return (
    a.crowd - b.crowd ||
    a.level - b.level ||
    a.imageless - b.imageless ||
    a.load - b.load ||
    a.tasks - b.tasks ||
    (a.view.node.id < b.view.node.id ? -1 : 1)
  );
}
