import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type {
  Entry,
  Guard,
  Lease,
  Store,
  StoreEvent,
  Transaction,
  Watch,
  WatchHandler,
} from './store.js';
import { conflictOf, validateTransaction } from './transaction.js';

export interface MemoryStoreOptions {
  /** How long a watcher waits before it sees the next transaction; drawn anew for each. */
  watchDelayMs?: () => number;
  /**
   * Asked before each commit. `lost`: not applied, reported as unavailable; `applied`: applied,
   * and reported as unavailable too, as when the answer of a server is lost.
   */
  commitFault?: (transaction: Transaction) => 'none' | 'lost' | 'applied';
}

interface Stored {
  entry: Entry;
  createRevision: number;
  leaseId: string | undefined;
}
interface Committed {
  revision: number;
  events: readonly StoreEvent[];
}

/** The store in one process's memory, for simulations and tests: versions, history, leases. */
export class MemoryStore implements Store {
  #revision = 1; // as an empty etcd
  #compacted = 0;
  #leases = 0;
  readonly #clock: Clock;
  readonly #options: MemoryStoreOptions;
  readonly #stored = new Map<string, Stored>();
  readonly #history: Committed[] = [];
  readonly #watches = new Set<MemoryWatch>();
  readonly #expiry = new Map<string, () => void>();

  constructor(modules: { clock: Clock }, options: MemoryStoreOptions = {}) {
    this.#clock = modules.clock;
    this.#options = options;
  }

  list(prefix: string): Promise<{ revision: number; entries: Entry[] }> {
    const entries = [...this.#stored.values()]
      .map((s) => s.entry)
      .filter((e) => e.key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    return Promise.resolve({ revision: this.#revision, entries });
  }

  get(key: string): Promise<Entry | undefined> {
    return Promise.resolve(this.#stored.get(key)?.entry);
  }

  watch(prefix: string, revision: number, handler: WatchHandler): Promise<Watch> {
    const watch = new MemoryWatch(prefix, revision, handler, {
      after: (seen) => this.#after(seen),
      delay: async () => {
        const delayMs = this.#options.watchDelayMs?.() ?? 0;
        if (delayMs > 0) await sleep(this.#clock, delayMs);
        else await Promise.resolve(); // never inside the caller's turn, as with a real store
      },
      onClose: () => {
        this.#watches.delete(watch);
      },
    });
    this.#watches.add(watch);
    watch.wake();
    return Promise.resolve(watch);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- errors become rejections, as with a real store
  async commit(transaction: Transaction): Promise<number> {
    validateTransaction(transaction);
    const fault = this.#options.commitFault?.(transaction) ?? 'none';
    if (fault === 'lost') throw lostAnswer();
    if (!transaction.guards.every((g) => this.#holds(g))) throw conflictOf(transaction);
    for (const { leaseId } of transaction.puts) {
      if (leaseId !== undefined && !this.#expiry.has(leaseId)) throw noLease(leaseId);
    }
    this.#write(transaction);
    if (fault === 'applied') throw lostAnswer();
    return this.#revision;
  }

  grantLease(ttlMs: number): Promise<Lease> {
    const id = String(++this.#leases);
    const granted = Math.max(2000, Math.ceil(ttlMs / 1000) * 1000);
    this.#expireAfter(id, granted);
    return Promise.resolve({
      id,
      ttlMs: granted,
      renew: () => {
        if (!this.#expiry.has(id)) return Promise.reject(noLease(id));
        this.#expireAfter(id, granted);
        return Promise.resolve();
      },
      revoke: () => {
        this.#endLease(id);
        return Promise.resolve();
      },
    });
  }

  /** Forgets the history up to and including `revision`: watches that were behind it are lost. */
  compact(revision: number = this.#revision): void {
    this.#compacted = Math.max(this.#compacted, revision);
    const keep = this.#history.findIndex((c) => c.revision > this.#compacted);
    this.#history.splice(0, keep === -1 ? this.#history.length : keep);
    for (const watch of this.#watches) watch.wake();
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const cancel of this.#expiry.values()) cancel();
    this.#expiry.clear();
    for (const watch of [...this.#watches]) void watch.close();
    return Promise.resolve();
  }

  #holds(guard: Guard): boolean {
    const stored = this.#stored.get(guard.key);
    return 'revision' in guard
      ? (stored?.entry.revision ?? 0) === guard.revision
      : (stored?.createRevision ?? 0) === guard.createRevision;
  }

  #write({ puts, deletes }: Pick<Transaction, 'puts' | 'deletes'>): void {
    const present = deletes.filter((key) => this.#stored.has(key));
    if (puts.length + present.length === 0) return;
    const revision = ++this.#revision;
    const events: StoreEvent[] = [];
    for (const { key, value, leaseId } of puts) {
      const entry: Entry = Object.freeze({ key, value, revision });
      const createRevision = this.#stored.get(key)?.createRevision ?? revision;
      this.#stored.set(key, { entry, createRevision, leaseId });
      events.push({ type: 'put', entry });
    }
    for (const key of present) {
      this.#stored.delete(key);
      events.push({ type: 'delete', key });
    }
    this.#history.push({ revision, events });
    for (const watch of this.#watches) watch.wake();
  }

  /** The first commit after `seen`, or why there is none. */
  #after(seen: number): Committed | 'none' | 'compacted' {
    if (seen < this.#compacted) return 'compacted';
    const first = this.#history[0]?.revision ?? 0;
    return this.#history[Math.max(0, seen + 1 - first)] ?? 'none'; // revisions have no gaps
  }

  #expireAfter(id: string, ttlMs: number): void {
    this.#expiry.get(id)?.();
    this.#expiry.set(
      id,
      this.#clock.setTimer(ttlMs, () => this.#endLease(id)),
    );
  }

  #endLease(id: string): void {
    const cancel = this.#expiry.get(id);
    if (cancel === undefined) return;
    cancel();
    this.#expiry.delete(id);
    const keys = [...this.#stored.values()].filter((s) => s.leaseId === id).map((s) => s.entry.key);
    this.#write({ puts: [], deletes: keys });
  }
}

function lostAnswer(): HatobaError {
  return new HatobaError(
    'unavailable',
    'the store did not answer; the write may have been applied',
  );
}

function noLease(id: string): HatobaError {
  return new HatobaError('not-found', `lease ${id} is over`);
}

interface History {
  after(seen: number): Committed | 'none' | 'compacted';
  delay(): Promise<void>;
  onClose(): void;
}

/** Walks the history, one commit at a time, and sleeps at its end. */
class MemoryWatch implements Watch {
  #seen: number;
  #isRunning = false;
  #isClosed = false;
  readonly #prefix: string;
  readonly #handler: WatchHandler;
  readonly #history: History;

  constructor(prefix: string, seen: number, handler: WatchHandler, history: History) {
    this.#prefix = prefix;
    this.#seen = seen;
    this.#handler = handler;
    this.#history = history;
  }

  wake(): void {
    if (this.#isRunning || this.#isClosed) return;
    this.#isRunning = true;
    void this.#run(); // cannot reject: handlers are not to throw
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#history.onClose();
    return Promise.resolve();
  }

  async #run(): Promise<void> {
    while (this.#history.after(this.#seen) !== 'none') {
      await this.#history.delay();
      if (this.#isClosed) return;
      const next = this.#history.after(this.#seen);
      if (next === 'compacted') {
        await this.close();
        this.#handler.onLost(new Error('the history was compacted'));
        return;
      }
      if (next === 'none') break;
      this.#deliver(next);
    }
    this.#isRunning = false;
  }

  #deliver({ revision, events }: Committed): void {
    this.#seen = revision;
    const ours = events.filter((e) =>
      (e.type === 'put' ? e.entry.key : e.key).startsWith(this.#prefix),
    );
    if (ours.length > 0) this.#handler.onEvents(revision, ours);
  }
}
