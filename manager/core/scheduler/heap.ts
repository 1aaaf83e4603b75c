/** A binary heap: the first by `compare` is its top. */
export class Heap<T> {
  readonly #items: T[];
  readonly #compare: (a: T, b: T) => number;

  constructor(items: readonly T[], compare: (a: T, b: T) => number) {
    this.#items = [...items];
    this.#compare = compare;
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
      items[at] = child;
      at = isRight ? left + 1 : left;
    }
    items[at] = item;
  }
}
