/**
 * The one door to the cluster's state: keys under /hatoba/v1/, values protobuf. Commits are data,
 * so nothing can wait or call back inside a transaction.
 */
export interface Store extends AsyncDisposable {
  /** Everything under `prefix`, as of one revision. */
  list(prefix: string): Promise<{ revision: number; entries: Entry[] }>;
  get(key: string): Promise<Entry | undefined>;
  /**
   * Changes under `prefix` after `revision`, a whole transaction at a time and in order.
   * Survives reconnects by itself. Calls `onLost` once and stops when the history is gone
   * (compaction) or cannot be had: list again and start a new watch.
   */
  watch(prefix: string, revision: number, handler: WatchHandler): Promise<Watch>;
  /**
   * Applies all of it or nothing. At most 128 guards and 128 writes.
   * @returns the revision of the commit
   * @throws {HatobaError} conflict when a guard does not hold; unavailable when the outcome is not
   * known (it may have been applied)
   */
  commit(transaction: Transaction): Promise<number>;
  /**
   * A lease, for keys that must go when their writer dies; whole seconds, at least 2.
   * It is not renewed by itself.
   */
  grantLease(ttlMs: number): Promise<Lease>;
}

/**
 * Keys put with its id are deleted when it expires or is revoked. Only the store knows when that
 * is: the holder's own count of the time may be late, so what rests on a lease must be guarded by
 * its key in each commit.
 */
export interface Lease {
  readonly id: string;
  /** As granted; the store may give more than was asked for. */
  readonly ttlMs: number;
  /**
   * Starts the time anew.
   * @throws {HatobaError} not-found when it is over; unavailable
   */
  renew(): Promise<void>;
  /** Ends it now; already over is success. */
  revoke(): Promise<void>;
}

export interface Entry {
  key: string;
  value: Uint8Array;
  /** Revision of the last write. */
  revision: number;
}

export interface Transaction {
  guards: readonly Guard[];
  puts: readonly { key: string; value: Uint8Array; leaseId?: string }[];
  deletes: readonly string[];
}

/** `revision`: of the last write, 0 = the key must not exist. `createRevision`: of its creation. */
export type Guard = { key: string; revision: number } | { key: string; createRevision: number };

export interface WatchHandler {
  /** Events of one revision. */
  onEvents(revision: number, events: readonly StoreEvent[]): void;
  onLost(reason: Error): void;
}
export type StoreEvent = { type: 'put'; entry: Entry } | { type: 'delete'; key: string };

export interface Watch {
  close(): Promise<void>;
}
