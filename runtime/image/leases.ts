import type { Digest } from '../core/digest.js';

/**
 * What running work needs (blobs, layers, images, each by its digest), so that a removal beside it
 * leaves that alone.
 * 1. Whoever is going to use something holds it first, then looks whether it is there.
 * 2. Removals run in `exclusively`, one at a time; nobody can begin to hold anything meanwhile. So
 *    what a removal finds not held nobody has looked at yet, and whoever looks later finds it gone.
 * 3. Leases live in memory: after a crash no work is left that would need one.
 */
export class Leases {
  readonly #holders = new Map<Digest, number>();
  #removal: Promise<unknown> | undefined;

  open(): Lease {
    return new Lease({
      take: (digest) => this.#count(digest, 1),
      give: (digest) => this.#count(digest, -1),
      removalEnd: () => this.#removal,
    });
  }

  isHeld(digest: Digest): boolean {
    return this.#holders.has(digest);
  }

  /** Keep it short: every pull and every creation of a container waits for it. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#removal ?? Promise.resolve();
    const run = before.then(work);
    const settled = run.catch(() => undefined); // its caller is told
    this.#removal = settled;
    try {
      return await run;
    } finally {
      if (this.#removal === settled) this.#removal = undefined;
    }
  }

  #count(digest: Digest, change: number): void {
    const count = (this.#holders.get(digest) ?? 0) + change;
    if (count > 0) this.#holders.set(digest, count);
    else this.#holders.delete(digest);
  }
}

/** The digests one piece of work holds. */
export class Lease {
  readonly #parts: {
    readonly take: (digest: Digest) => void;
    readonly give: (digest: Digest) => void;
    readonly removalEnd: () => Promise<unknown> | undefined;
  };
  readonly #held = new Set<Digest>();

  constructor(parts: {
    take: (digest: Digest) => void;
    give: (digest: Digest) => void;
    removalEnd: () => Promise<unknown> | undefined;
  }) {
    this.#parts = parts;
  }

  /** Everything held so far. */
  get held(): readonly Digest[] {
    return [...this.#held];
  }

  /** Holds more, as soon as no removal runs. */
  async hold(...digests: readonly Digest[]): Promise<void> {
    for (let end = this.#parts.removalEnd(); end !== undefined; end = this.#parts.removalEnd()) {
      await end;
    }
    for (const digest of digests) {
      if (this.#held.has(digest)) continue;
      this.#held.add(digest);
      this.#parts.take(digest);
    }
  }

  /** Lets go of everything. */
  release(): void {
    for (const digest of this.#held) this.#parts.give(digest);
    this.#held.clear();
  }
}
