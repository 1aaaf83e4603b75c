import type { Task } from '../../../common/model/objects.js';
import { isMeant, selectorOf, type ServiceAffinity } from './affinity.js';
import type { NodeView } from './node-view.js';
import { classOf, placeKey, standingOf } from './standing.js';

/**
 * Which tasks are counted, and by what. `present`: all that have not ended, those that are being
 * stopped included; else the wanted ones.
 */
export interface CountOf {
  /** Names the tasks; equal for counters of the same ones. */
  readonly selector: string;
  readonly isMeant: (task: Task) => boolean;
  /** Set where they are those of one service. */
  readonly serviceId?: string;
  readonly present: boolean;
  /** The nodes that agree in the values of these keys are counted together; none = all nodes. */
  readonly keys: readonly string[];
}

/**
 * Counts tasks by a value of their nodes. A place (slot) counts once for a value, however many of
 * its tasks are there: while an update starts the new task before it stops the old one, the new one
 * may take the old one's place.
 */
export class TopologyCounter {
  readonly of: CountOf;
  /** Grows whenever a count may have become smaller. */
  decreases = 0;
  /** value → place → tasks of it. */
  readonly #places = new Map<string, Map<string, number>>();

  constructor(of: CountOf) {
    this.of = of;
  }

  /** Places with a task on nodes with this one's value, other than the one named. */
  on(view: NodeView, except?: string): number {
    return this.at(valueFor(view, this.of.keys), except);
  }

  at(value: string, except?: string): number {
    const places = this.#places.get(value);
    if (places === undefined) return 0;
    return except !== undefined && places.has(except) ? places.size - 1 : places.size;
  }

  /** Whether there is any, other than those of the place named. */
  isEmpty(except?: string): boolean {
    for (const value of this.#places.keys()) if (this.at(value, except) > 0) return false;
    return true;
  }

  count(task: Task, view: NodeView, sign: 1 | -1): void {
    if (!this.of.present && standingOf(task) !== 'wanted') return;
    if (sign === -1) this.decreases++;
    const value = valueFor(view, this.of.keys);
    const places = this.#places.get(value) ?? new Map<string, number>();
    const place = placeKey(task);
    const tasks = (places.get(place) ?? 0) + sign;
    if (tasks > 0) this.#places.set(value, places.set(place, tasks));
    else if (places.delete(place) && places.size === 0) this.#places.delete(value);
  }
}

/** The value that a node is counted under. */
export function valueFor(view: NodeView, keys: readonly string[]): string {
  const [first, ...others] = keys;
  if (first === undefined) return '';
  if (others.length === 0) return view.value(first);
  return keys.map((key) => view.value(key)).join('\n');
}

/** An anti-affinity that tasks in the cluster have, and where they are. */
export interface Repeller {
  readonly affinity: ServiceAffinity;
  readonly counter: TopologyCounter;
}

/** All counters there are; each is made when it is first asked for, and kept right from then on. */
export class Counters {
  readonly #counters = new Map<string, TopologyCounter>();
  readonly #ofService = new Map<string, TopologyCounter[]>();
  /** Those that are not of one service. */
  readonly #selecting: TopologyCounter[] = [];
  /** class → which of these its tasks are counted by. */
  readonly #selectingClass = new Map<string, readonly TopologyCounter[]>();
  readonly #repellers = new Map<string, Repeller>();

  get repellers(): Iterable<Repeller> {
    return this.#repellers.values();
  }

  /** @param begin counts the tasks that are there already by a new counter */
  get(of: CountOf, begin: (counter: TopologyCounter) => void): TopologyCounter {
    const key = `${String(of.present)} ${of.selector} ${of.keys.join('\n')}`;
    const known = this.#counters.get(key);
    if (known !== undefined) return known;
    const counter = new TopologyCounter(of);
    begin(counter);
    this.#counters.set(key, counter);
    this.#register(counter);
    return counter;
  }

  #register(counter: TopologyCounter): void {
    const { serviceId } = counter.of;
    if (serviceId === undefined) {
      this.#selecting.push(counter);
      this.#selectingClass.clear();
      return;
    }
    const there = this.#ofService.get(serviceId);
    if (there === undefined) this.#ofService.set(serviceId, [counter]);
    else there.push(counter);
  }

  /** A task has come to its node, or left it. @param repels its anti-affinities that are conditions */
  count(task: Task, view: NodeView, sign: 1 | -1, repels: readonly ServiceAffinity[]): void {
    for (const affinity of repels) this.#repeller(affinity).counter.count(task, view, sign);
    const own = this.#ofService.get(task.serviceId);
    if (own !== undefined) for (const counter of own) counter.count(task, view, sign);
    if (this.#selecting.length === 0) return;
    for (const counter of this.#selectingFor(task)) counter.count(task, view, sign);
  }

  #repeller(affinity: ServiceAffinity): Repeller {
    const key = `${selectorOf(affinity)} ${affinity.topology}`;
    let repeller = this.#repellers.get(key);
    if (repeller === undefined) {
      const of = { selector: '', isMeant: () => false, present: true, keys: [affinity.topology] };
      repeller = { affinity, counter: new TopologyCounter(of) };
      this.#repellers.set(key, repeller);
    }
    return repeller;
  }

  #selectingFor(task: Task): readonly TopologyCounter[] {
    const taskClass = classOf(task);
    let counters = this.#selectingClass.get(taskClass);
    if (counters === undefined) {
      counters = this.#selecting.filter((c) => c.of.isMeant(task));
      this.#selectingClass.set(taskClass, counters);
    }
    return counters;
  }
}

/** Of one service, whatever its versions. */
export function countOfService(
  serviceId: string,
  keys: readonly string[],
  present = false,
): CountOf {
  const isOwn = (task: Task): boolean => task.serviceId === serviceId;
  return { selector: `id=${serviceId}`, serviceId, isMeant: isOwn, present, keys };
}

/** Those that an affinity is about: towards what will stay, away from all that is there. */
export function countOfAffinity(affinity: ServiceAffinity): CountOf {
  return {
    selector: selectorOf(affinity),
    isMeant: (task) => isMeant(affinity, task),
    present: !affinity.isToward,
    keys: [affinity.topology],
  };
}
