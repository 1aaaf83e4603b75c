import { BinPicker } from './bins.js';
import type { Candidates } from './candidates.js';
import { HeapPicker, type Picker } from './heap-picker.js';
import type { NodeView } from './node-view.js';
import { compareRanked } from './rank.js';

/** Up to this many tasks of a class, looking for each alone is cheaper than building a heap. */
const FEW_TASKS = 4;

export function pickerFor(candidates: Candidates, tasks: number): Picker {
  if (candidates.binKeys().length > 0) return new BinPicker(candidates);
  if (tasks <= FEW_TASKS && candidates.isPlain) return new LeastLoadedPicker(candidates);
  return new HeapPicker(candidates, candidates.eligible());
}

/**
 * For a few tasks of a plain class: the least loaded node without a task of the service is the best
 * there is, unless one that is about as good has the image. Only where no such node fits are all of
 * them looked at.
 */
class LeastLoadedPicker implements Picker {
  readonly #candidates: Candidates;

  constructor(candidates: Candidates) {
    this.#candidates = candidates;
  }

  best(): NodeView | undefined {
    const { request, state, ranking } = this.#candidates;
    const { serviceId } = request.task;
    const isFresh = (view: NodeView): boolean =>
      view.tasksOfService(serviceId) === 0 &&
      this.#candidates.isEligible(view) &&
      ranking.reluctance(view) === 0 &&
      this.#candidates.hasRoom(view);
    const first = state.nodes.byLoad().find(isFresh);
    if (first === undefined) {
      return new HeapPicker(this.#candidates, this.#candidates.eligible()).best();
    }
    const rivals = state.nodes.withImage(ranking.image).filter(isFresh);
    return [first, ...rivals]
      .map((view) => ranking.rank(view))
      .reduce((best, one) => (compareRanked(one, best) < 0 ? one : best)).view;
  }
}
