/**
 * Which store revision the kernel of each node shows, and the least of all. A kernel's revision only
 * grows. The least is kept as nodes report, not looked for at each report.
 */
export class ShownRevisions {
  readonly #byNode = new Map<string, number>();
  #least = Infinity;
  /** How many nodes are at the least; at 0 the next one has to be looked for. */
  #atLeast = 0;

  /** Infinity without nodes. */
  get least(): number {
    return this.#least;
  }

  has(nodeId: string): boolean {
    return this.#byNode.has(nodeId);
  }

  /** Adds the node if it is not there; a lower revision than before says nothing. */
  raise(nodeId: string, revision: number): void {
    const before = this.#byNode.get(nodeId);
    if (before !== undefined && before >= revision) return;
    this.#byNode.set(nodeId, revision);
    if (before !== undefined) this.#left(before);
    else if (revision < this.#least) [this.#least, this.#atLeast] = [revision, 1];
    else if (revision === this.#least) this.#atLeast++;
  }

  delete(nodeId: string): void {
    const before = this.#byNode.get(nodeId);
    if (before === undefined) return;
    this.#byNode.delete(nodeId);
    this.#left(before);
  }

  /** Nodes that do not show `revision` yet, in order of their ids. */
  behind(revision: number): string[] {
    const nodes = [...this.#byNode].filter(([, shown]) => shown < revision).map(([id]) => id);
    return nodes.sort();
  }

  #left(revision: number): void {
    if (revision !== this.#least || --this.#atLeast > 0) return;
    [this.#least, this.#atLeast] = [Infinity, 0];
    for (const shown of this.#byNode.values()) {
      if (shown < this.#least) [this.#least, this.#atLeast] = [shown, 1];
      else if (shown === this.#least) this.#atLeast++;
    }
  }
}
