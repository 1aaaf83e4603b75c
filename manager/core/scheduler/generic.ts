import type { Task } from '../../../common/model/objects.js';
import type { GenericResource } from '../../../proto/gen/hatoba/v1/types.js';

interface Kind {
  total: number;
  used: number;
  /** Those of the node that have names → how many tasks were given each. */
  readonly names: Map<string, number>;
}

/** The generic resources of one node: how many of each kind are free, and which, by name. */
export class GenericResources {
  readonly #kinds = new Map<string, Kind>();

  constructor(resources: readonly GenericResource[]) {
    for (const { kind, count, names } of resources) {
      const entry = this.#kind(kind);
      entry.total += count + names.length;
      for (const name of names) entry.names.set(name, 0);
    }
  }

  free(kind: string): number {
    const entry = this.#kinds.get(kind);
    return entry === undefined ? 0 : entry.total - entry.used;
  }

  /** @param sign 1 when a task takes its own, -1 when it gives them back */
  count(task: Task, sign: 1 | -1): void {
    for (const { kind, count, names } of heldBy(task)) {
      const entry = this.#kind(kind);
      entry.used += sign * (count + names.length);
      for (const name of names) {
        const there = entry.names.get(name); // the node may have lost it meanwhile
        if (there !== undefined) entry.names.set(name, there + sign);
      }
    }
  }

  /** What a task with these reservations is given: free names where the node has names. */
  give(reservations: readonly GenericResource[]): GenericResource[] {
    return reservations
      .filter((r) => r.count > 0)
      .map(({ kind, count }) => {
        const free = [...this.#kind(kind).names].filter(([, users]) => users <= 0);
        const names = free.slice(0, count).map(([name]) => name);
        return { kind, count: count - names.length, names };
      });
  }

  #kind(kind: string): Kind {
    let entry = this.#kinds.get(kind);
    if (entry === undefined) {
      entry = { total: 0, used: 0, names: new Map() };
      this.#kinds.set(kind, entry);
    }
    return entry;
  }
}

/** How many of a kind a task holds. */
export function genericCountOf(task: Task, wanted: string): number {
  let sum = 0;
  for (const { kind, count, names } of heldBy(task)) {
    if (kind === wanted) sum += count + names.length;
  }
  return sum;
}

function heldBy({ assignedGenericResources, spec }: Task): readonly GenericResource[] {
  if (assignedGenericResources.length > 0) return assignedGenericResources;
  return spec.resources.reservations.generic;
}
