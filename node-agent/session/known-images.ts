import type { Clock } from '../../common/clock.js';

/** Managers place tasks where an image is by these; more would only be noise. */
const MOST = 100;
/** How often it is asked again: each change of the list is a write in the store of the cluster. */
const ASK_MS = 10_000;

/**
 * The images of this node as managers are told of them, those used last first. As long as they are
 * the same images, they stay in the order that was told: an order alone is worth no word.
 */
export class KnownImages {
  readonly #names: (most: number) => Promise<readonly string[]>;
  readonly #clock: Clock;
  #told: readonly string[] = [];
  #askedMs = -Infinity;

  /** @param names of the images that are here, those used last first */
  constructor(modules: { names: (most: number) => Promise<readonly string[]>; clock: Clock }) {
    this.#names = modules.names;
    this.#clock = modules.clock;
  }

  async list(): Promise<readonly string[]> {
    const nowMs = this.#clock.nowMs();
    // A clock that was set back asks too often rather than never.
    if (nowMs >= this.#askedMs && nowMs - this.#askedMs < ASK_MS) return this.#told;
    const names = await this.#names(MOST);
    this.#askedMs = nowMs;
    if (!isSameSet(names, this.#told)) this.#told = names;
    return this.#told;
  }
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  const known = new Set(b);
  return a.length === b.length && a.every((name) => known.has(name));
}
