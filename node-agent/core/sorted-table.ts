/** More changes at once are cheaper put in order all anew. */
const MAX_SPLICED = 1000;

/**
 * Values by key, in order of the keys. Never changed in place, and a change copies references only:
 * with tens of thousands of entries, one more costs a fraction of a millisecond.
 */
export class SortedTable<V> {
  readonly #keys: readonly string[];
  /** In order of the keys; the same array as long as the table is the same. */
  readonly values: readonly V[];

  private constructor(keys: readonly string[], values: readonly V[]) {
    this.#keys = keys;
    this.values = values;
  }

  static from<V>(entries: Iterable<readonly [key: string, value: V]> = []): SortedTable<V> {
    return new SortedTable<V>([], []).with(new Map(entries));
  }

  has(key: string): boolean {
    return this.#keys[this.#placeOf(key)] === key;
  }

  get(key: string): V | undefined {
    const place = this.#placeOf(key);
    return this.#keys[place] === key ? this.values[place] : undefined;
  }

  keys(): readonly string[] {
    return this.#keys;
  }

  /** @param changes new values by key; undefined: the key goes away */
  with(changes: ReadonlyMap<string, V | undefined>): SortedTable<V> {
    const isFew = changes.size <= MAX_SPLICED && changes.size * 4 <= this.#keys.length;
    return isFew ? this.#spliced(changes) : this.#rebuilt(changes);
  }

  #rebuilt(changes: ReadonlyMap<string, V | undefined>): SortedTable<V> {
    const kept = this.#keys.flatMap((key, place) => {
      const value = this.values[place];
      return value === undefined || changes.has(key) ? [] : [[key, value] as const];
    });
    const come = [...changes].flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as const],
    );
    const all = [...kept, ...come].sort(([a], [b]) => (a < b ? -1 : 1));
    return new SortedTable(
      all.map(([key]) => key),
      all.map(([, value]) => value),
    );
  }

  #spliced(changes: ReadonlyMap<string, V | undefined>): SortedTable<V> {
    const keys: (readonly string[])[] = [];
    const values: (readonly V[])[] = [];
    let from = 0;
    for (const key of [...changes.keys()].sort()) {
      const place = this.#placeOf(key, from);
      keys.push(this.#keys.slice(from, place));
      values.push(this.values.slice(from, place));
      const value = changes.get(key);
      if (value !== undefined) {
        keys.push([key]);
        values.push([value]);
      }
      from = this.#keys[place] === key ? place + 1 : place;
    }
    keys.push(this.#keys.slice(from));
    values.push(this.values.slice(from));
    return new SortedTable(([] as string[]).concat(...keys), ([] as V[]).concat(...values));
  }

  /** Where the key is, or would be; not before `from`. */
  #placeOf(key: string, from = 0): number {
    let [low, high] = [from, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
