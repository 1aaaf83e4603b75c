import type { Random } from '../../../common/random.js';
import type { Timeline } from './timeline.js';

/**
 * The network between hosts, as TCP makes it: what is sent arrives in order or not at all, later than
 * usual where packets are lost, and where the way is cut as soon as it is open again.
 */
export class SimNetwork {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #cuts = new Map<string, number>();
  readonly #held = new Map<string, (() => void)[]>();
  /** Share of messages that are lost at first, and sent again. */
  lossRate = 0.01;

  constructor(timeline: Timeline, random: Random) {
    this.#timeline = timeline;
    this.#random = random;
  }

  /** Nothing that `from` sends reaches `to`, until it is healed as often. */
  cut(from: string, to: string): void {
    const way = `${from}>${to}`;
    this.#cuts.set(way, (this.#cuts.get(way) ?? 0) + 1);
  }

  heal(from: string, to: string): void {
    const way = `${from}>${to}`;
    const left = (this.#cuts.get(way) ?? 0) - 1;
    if (left > 0) return void this.#cuts.set(way, left);
    this.#cuts.delete(way);
    const held = this.#held.get(way) ?? [];
    this.#held.delete(way);
    for (const arrive of held) arrive();
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  /** A lane of one connection, in which nothing overtakes. */
  lane(from: string, to: string): (arrive: () => void) => void {
    const waiting: (() => void)[] = [];
    let isMoving = false;
    const move = (): void => {
      if (isMoving || waiting.length === 0) return;
      isMoving = true;
      this.#timeline.after(this.#delayMs(), () => {
        this.#whenOpen(from, to, () => {
          isMoving = false;
          for (const arrive of waiting.splice(0)) arrive();
        });
      });
    };
    return (arrive) => {
      waiting.push(arrive);
      move();
    };
  }

  #whenOpen(from: string, to: string, run: () => void): void {
    if (!this.isCut(from, to)) return run();
    const way = `${from}>${to}`;
    const held = this.#held.get(way) ?? [];
    held.push(run);
    this.#held.set(way, held);
  }

  #delayMs(): number {
    const dice = this.#random.next();
    return dice < this.lossRate ? 200 + dice * 1000 : dice * 3;
  }
}
