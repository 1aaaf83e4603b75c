import { HatobaError, wrapError } from '../../../common/errors.js';
import type { Random } from '../../../common/random.js';
import type {
  Entry,
  Lease,
  Store,
  StoreEvent,
  Transaction,
  Watch,
  WatchHandler,
} from '../../../manager/store/store.js';
import type { SimProcess } from './process.js';
import type { Timeline } from './timeline.js';

/** What happens to one commit on its way. */
export type CommitFate = 'made' | 'lost' | 'made, answer lost';

export interface StoreClientModules {
  readonly store: Store;
  readonly timeline: Timeline;
  readonly process: SimProcess;
  readonly random: Random;
  /** Asked when a commit reaches the store. */
  readonly fateOf: (transaction: Transaction) => CommitFate;
  /** Around each commit that reaches the store, so that it is known whose it is. */
  readonly onCommit: (transaction: Transaction) => void;
}

/** A call that no answer comes to is given up after this long. */
const TIMEOUT_MS = 3000;

/**
 * A manager's connection to the store: every call and every answer takes its time, events of a watch
 * come late but in order, and all of it can be cut off.
 */
export class StoreClient implements Store {
  readonly #modules: StoreClientModules;
  readonly #watches = new Set<DelayedWatch>();
  #isCut = false;

  constructor(modules: StoreClientModules) {
    this.#modules = modules;
  }

  list(prefix: string): Promise<{ revision: number; entries: Entry[] }> {
    return this.#call((store) => store.list(prefix));
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#call((store) => store.get(key));
  }

  async watch(prefix: string, revision: number, handler: WatchHandler): Promise<Watch> {
    const { process, timeline } = this.#modules;
    const watch = new DelayedWatch(handler, {
      ...{ process, timeline },
      delayMs: () => this.#delayMs(),
      onClose: () => this.#watches.delete(watch),
    });
    this.#watches.add(watch);
    await this.#call(async (store) => watch.follow(await store.watch(prefix, revision, watch)));
    if (this.#isCut) watch.hold();
    return watch;
  }

  commit(transaction: Transaction): Promise<number> {
    const { fateOf, onCommit } = this.#modules;
    return this.#call((store) => {
      const fate = fateOf(transaction);
      if (fate === 'lost') return Promise.reject(noAnswer());
      onCommit(transaction);
      const revision = store.commit(transaction);
      return fate === 'made' ? revision : revision.then(() => Promise.reject(noAnswer()));
    });
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    const lease = await this.#call((store) => store.grantLease(ttlMs));
    return {
      id: lease.id,
      ttlMs: lease.ttlMs,
      renew: () => this.#call(() => lease.renew()),
      revoke: () => this.#call(() => lease.revoke()),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const watch of [...this.#watches]) void watch.close();
    return Promise.resolve();
  }

  /** Nothing passes any more; what is under way gets no answer. */
  cut(): void {
    this.#isCut = true;
    for (const watch of this.#watches) watch.hold();
  }

  heal(): void {
    this.#isCut = false;
    for (const watch of this.#watches) watch.goOn();
  }

  /** The watches lose what they have not passed on yet, as after a compaction. */
  loseWatches(): void {
    for (const watch of [...this.#watches]) watch.lose();
  }

  /** The watches pass on once more what they passed on last. */
  repeatEvents(): void {
    for (const watch of this.#watches) watch.repeat();
  }

  #call<T>(run: (store: Store) => Promise<T>): Promise<T> {
    const { timeline, store, process } = this.#modules;
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void): void => {
        if (this.#isCut) lost();
        else timeline.after(this.#delayMs(), () => process.enter(settle));
      };
      const lost = (): void => {
        timeline.after(TIMEOUT_MS, () => process.enter(() => reject(noAnswer())));
      };
      if (this.#isCut) return lost();
      timeline.after(this.#delayMs(), () => {
        if (this.#isCut) return lost();
        run(store).then(
          (value) => answer(() => resolve(value)),
          (error: unknown) => answer(() => reject(wrapError(error, 'the store'))),
        );
      });
    });
  }

  /** Mostly a millisecond or less; sometimes what a busy disk takes. */
  #delayMs(): number {
    const { random } = this.#modules;
    const dice = random.next();
    return dice < 0.97 ? dice : random.next() * 150;
  }
}

function noAnswer(): HatobaError {
  return new HatobaError('unavailable', 'the store did not answer');
}

interface WatchModules {
  readonly process: SimProcess;
  readonly timeline: Timeline;
  readonly delayMs: () => number;
  readonly onClose: () => void;
}

/** Passes on what a watch of the store brings, later and in order. */
class DelayedWatch implements Watch, WatchHandler {
  readonly #handler: WatchHandler;
  readonly #modules: WatchModules;
  readonly #waiting: { revision: number; events: readonly StoreEvent[] }[] = [];
  #last: { revision: number; events: readonly StoreEvent[] } | undefined;
  #inner: Watch | undefined;
  #isClosed = false;
  #isHeld = false;
  #isMoving = false;

  constructor(handler: WatchHandler, modules: WatchModules) {
    this.#handler = handler;
    this.#modules = modules;
  }

  async follow(inner: Watch): Promise<void> {
    this.#inner = inner;
    if (this.#isClosed) await inner.close();
  }

  onEvents(revision: number, events: readonly StoreEvent[]): void {
    this.#waiting.push({ revision, events });
    this.#move();
  }

  onLost(): void {
    this.lose();
  }

  hold(): void {
    this.#isHeld = true;
  }

  goOn(): void {
    this.#isHeld = false;
    this.#move();
  }

  lose(): void {
    if (this.#isClosed) return;
    void this.close();
    const { timeline, process, delayMs } = this.#modules;
    timeline.after(delayMs(), () => {
      process.enter(() => this.#handler.onLost(new Error('the history was compacted')));
    });
  }

  repeat(): void {
    if (this.#last === undefined) return;
    this.#waiting.unshift(this.#last);
    this.#move();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#modules.onClose();
    await this.#inner?.close();
  }

  #move(): void {
    if (this.#isMoving || this.#isHeld || this.#waiting.length === 0) return;
    this.#isMoving = true;
    const { timeline, process, delayMs } = this.#modules;
    timeline.after(delayMs(), () => {
      this.#isMoving = false;
      if (this.#isHeld || this.#isClosed) return;
      for (const next of this.#waiting.splice(0)) {
        this.#last = next;
        process.enter(() => {
          if (!this.#isClosed) this.#handler.onEvents(next.revision, next.events);
        });
      }
    });
  }
}
