/** Counts who needs a cgroup group, so that the last to leave may remove it. */
export class GroupUse {
  readonly #counts = new Map<string, number>();

  enter(group: string): void {
    this.#counts.set(group, (this.#counts.get(group) ?? 0) + 1);
  }

  isInUse(group: string): boolean {
    return this.#counts.has(group);
  }

  /** @returns whether nobody is left */
  leave(group: string): boolean {
    const left = (this.#counts.get(group) ?? 0) - 1;
    if (left > 0) this.#counts.set(group, left);
    else this.#counts.delete(group);
    return left <= 0;
  }
}
