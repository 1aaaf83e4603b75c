import { sleep, type Clock } from '../../common/clock.js';
import { isKind } from '../../common/errors.js';

/** A fifth of a core at most is for looks through the kernel's table, however much changes. */
const REST_PER_LOOK = 4;
const MAX_REST_MS = 200;

/** Addresses to which flows are to be cut together. */
interface Cut {
  readonly addresses: Set<string>;
  readonly done: Promise<void>;
  readonly end: () => void;
}

/**
 * Addresses to which flows are to be cut. What is asked for during one look through the kernel's
 * table is done together by the next, a rest later: a look takes 10 ms and more.
 */
export class CutQueue {
  readonly #cut: (addresses: readonly string[]) => Promise<void>;
  readonly #clock: Clock;
  /** Asked for, not begun. */
  #next: Cut | undefined;
  /** Under way, or done. */
  #last: Cut = newCut();
  #isBusy = false;
  #rest = new AbortController();

  /** @param cut must not throw */
  constructor(cut: (addresses: readonly string[]) => Promise<void>, clock: Clock) {
    this.#cut = cut;
    this.#clock = clock;
    this.#last.end();
  }

  add(addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    const next = (this.#next ??= newCut());
    for (const address of addresses) next.addresses.add(address);
    if (!this.#isBusy) void this.#run();
  }

  /** Resolves when what was asked for so far is cut, or could not be. */
  done(): Promise<void> {
    return (this.#next ?? this.#last).done;
  }

  /** The same for these addresses alone, and without a rest before. */
  async settle(addresses: readonly string[]): Promise<void> {
    const isIn = (cut: Cut): boolean => addresses.some((a) => cut.addresses.has(a));
    if (this.#next !== undefined && isIn(this.#next)) {
      this.#rest.abort();
      await this.#next.done;
    } else if (isIn(this.#last)) await this.#last.done;
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    while (this.#next !== undefined) {
      const startedAtMs = this.#clock.nowMs();
      this.#rest = new AbortController();
      this.#last = this.#next;
      this.#next = undefined;
      await this.#cut([...this.#last.addresses]);
      this.#last.end();
      await this.#pause(REST_PER_LOOK * (this.#clock.nowMs() - startedAtMs));
    }
    this.#isBusy = false;
  }

  async #pause(restMs: number): Promise<void> {
    if (restMs <= 0) return;
    try {
      await sleep(this.#clock, Math.min(MAX_REST_MS, restMs), this.#rest.signal);
    } catch (error) {
      if (!isKind(error, 'cancelled')) throw error;
    }
  }
}

function newCut(): Cut {
  let end = (): void => undefined;
  const done = new Promise<void>((resolve) => (end = resolve));
  return { addresses: new Set(), done, end: () => end() };
}
