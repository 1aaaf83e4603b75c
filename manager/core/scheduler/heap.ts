/** A binary heap: the first by `compare` is its top. */
export class Heap<T> {
  readonly #items: T[];
  readonly #compare: (a: T, b: T) => number;
  readonly #placed: ((item: T, at: number) => void) | undefined;

  /** @param placed told where an item is, whenever that changes; for `changed` */
  constructor(
    items: readonly T[],
    compare: (a: T, b: T) => number,
    placed?: (item: T, at: number) => void,
  ) {
    this.#items = [...items];
    this.#compare = compare;
    this.#placed = placed;
    if (placed !== undefined) for (const [at, item] of this.#items.entries()) placed(item, at);
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  top(): T | undefined {
    return this.#items[0];
  }

  replaceTop(item: T): void {
    this.#items[0] = item;
    this.#sink(0);
  }

  dropTop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sink(0);
  }

  /** To be called when the item at this place compares otherwise than before. */
  changed(at: number): void {
    this.#sink(this.#rise(at));
  }

  /** @returns where the item is then */
  #rise(start: number): number {
    const items = this.#items;
    let at = start;
    const item = items[at];
    if (item === undefined) return at;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || this.#compare(item, parent) >= 0) break;
      this.#put(parent, at);
      at = above;
    }
    if (at !== start) this.#put(item, at);
    return at;
  }

  #put(item: T, at: number): void {
    this.#items[at] = item;
    this.#placed?.(item, at);
  }

  #sink(start: number): void {
    const items = this.#items;
    let at = start;
    const item = items[at];
    if (item === undefined) return;
    for (;;) {
      const left = 2 * at + 1;
      const leftItem = items[left];
      if (leftItem === undefined) break;
      const rightItem = items[left + 1];
      const isRight = rightItem !== undefined && this.#compare(rightItem, leftItem) < 0;
      const child = isRight ? rightItem : leftItem;
      if (this.#compare(child, item) >= 0) break;
      this.#put(child, at);
      at = isRight ? left + 1 : left;
    }
    if (at !== start) this.#put(item, at);
  }
}
