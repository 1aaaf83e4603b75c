import type { Task } from '../../common/model/objects.js';
import { comparePlaces, placeOf } from '../../common/model/task-place.js';

/** By service, place, generation: the order of the keys. */
export function compareTasks(a: Task, b: Task): number {
  if (a.serviceId !== b.serviceId) return a.serviceId < b.serviceId ? -1 : 1;
  return comparePlaces(placeOf(a), placeOf(b)) || a.generation - b.generation;
}

const NONE: readonly Task[] = Object.freeze([]);

/**
 * Tasks grouped by a string, each group in order.
 *
 * A list handed out by `of` never changes afterwards: the first change of a batch copies the list
 * it touches, later ones of the batch reuse the copy. So a reader may keep a list across awaits,
 * and a transaction of 100 tasks of one service copies its list once.
 */
export class SortedTasks {
  readonly #groups = new Map<string, Task[]>();
  readonly #copied = new Set<string>();

  startBatch(): void {
    this.#copied.clear();
  }

  of(group: string): readonly Task[] {
    return this.#groups.get(group) ?? NONE;
  }

  put(group: string, task: Task): void {
    const list = this.#own(group);
    const at = position(list, task);
    const present = list[at];
    const replaces = present !== undefined && compareTasks(present, task) === 0;
    list.splice(at, replaces ? 1 : 0, task);
  }

  remove(group: string, task: Task): void {
    const list = this.#own(group);
    const at = position(list, task);
    const present = list[at];
    if (present === undefined || compareTasks(present, task) !== 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.#groups.delete(group);
  }

  #own(group: string): Task[] {
    const present = this.#groups.get(group);
    if (present !== undefined && this.#copied.has(group)) return present;
    const list = present?.slice() ?? [];
    this.#groups.set(group, list);
    this.#copied.add(group);
    return list;
  }
}

/** Index of the first element that is not before `task`. */
function position(list: readonly Task[], task: Task): number {
  let low = 0;
  let high = list.length;
  const last = list.at(-1);
  if (last === undefined || compareTasks(last, task) < 0) return high; // lists load in order
  while (low < high) {
    const middle = (low + high) >>> 1;
    const there = list[middle];
    if (there !== undefined && compareTasks(there, task) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
