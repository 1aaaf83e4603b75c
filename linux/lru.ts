/** A bounded map that ends the value used longest ago when a new one would be too many. */
export class Lru<V> {
  readonly #values = new Map<string, V>();
  readonly #capacity: number;
  readonly #end: (value: V) => void;

  /** @param end called once for each value that leaves */
  constructor(capacity: number, end: (value: V) => void) {
    this.#capacity = capacity;
    this.#end = end;
  }

  get(key: string): V | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** Puts a value in place of the one there was. */
  set(key: string, value: V): void {
    this.delete(key);
    const oldest = this.#values.keys().next().value;
    if (this.#values.size >= this.#capacity && oldest !== undefined) this.delete(oldest);
    this.#values.set(key, value);
  }

  delete(key: string): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    this.#values.delete(key);
    this.#end(value);
  }

  clear(): void {
    for (const key of [...this.#values.keys()]) this.delete(key);
  }
}
