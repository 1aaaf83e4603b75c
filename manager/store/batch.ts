import { HatobaError } from '../../common/errors.js';
import type { Guard, Transaction } from './store.js';

/** etcd's --max-txn-ops, which counts comparisons and writes apart. */
export const MAX_OPERATIONS = 128;
/** Below etcd's --max-request-bytes of 1.5 MiB, with room for keys and framing. */
export const MAX_BYTES = 1024 * 1024;

/** Guards and writes that belong together; leases have no place in a plan. */
export type Batch = Transaction;

/**
 * One batch out of many small ones, in order: a later write of a key replaces the earlier, and a
 * guard on a key that an earlier part of the batch wrote is void, as the batch itself is the writer
 * (a service removed and another created under its name).
 */
export function toBatch(parts: readonly Batch[]): Batch {
  const guards = new Map<string, Guard>();
  const puts = new Map<string, Transaction['puts'][number]>();
  const deletes = new Set<string>();
  for (const part of parts) {
    for (const guard of part.guards) {
      if (!puts.has(guard.key) && !deletes.has(guard.key)) guards.set(guard.key, guard);
    }
    for (const put of part.puts) {
      deletes.delete(put.key);
      puts.set(put.key, put);
    }
    for (const key of part.deletes) {
      puts.delete(key);
      deletes.add(key);
    }
  }
  return { guards: [...guards.values()], puts: [...puts.values()], deletes: [...deletes] };
}

/** The transaction of several batches that touch different keys. */
export function mergeBatches(batches: readonly Batch[], shared: readonly Guard[]): Transaction {
  const own = batches.flatMap((b) => b.guards);
  const seen = new Set(own.map(guardId));
  return {
    guards: [...shared.filter((g) => !seen.has(guardId(g))), ...own],
    puts: batches.flatMap((b) => b.puts),
    deletes: batches.flatMap((b) => b.deletes),
  };
}

function guardId(guard: Guard): string {
  return 'revision' in guard
    ? `${guard.key} r${guard.revision}`
    : `${guard.key} c${guard.createRevision}`;
}

/**
 * Distributes batches over as few transactions as first-fit in order gives. Two batches that write
 * one key never share a transaction.
 * @param sharedGuards how many guards every transaction carries besides
 * @throws {HatobaError} invalid-argument for a batch that does not fit into any transaction
 */
export function packBatches(batches: readonly Batch[], sharedGuards: number): Batch[][] {
  const packed: Batch[][] = [];
  let room = new Room(sharedGuards);
  for (const batch of batches) {
    if (packed.length === 0 || !room.fits(batch)) {
      room = new Room(sharedGuards);
      if (!room.fits(batch)) throw tooLarge(batch);
      packed.push([]);
    }
    room.take(batch);
    packed.at(-1)?.push(batch);
  }
  return packed;
}

function tooLarge(batch: Batch): HatobaError {
  const writes = batch.puts.length + batch.deletes.length;
  return new HatobaError(
    'invalid-argument',
    `what is to be written in one step is too large: ${batch.guards.length} comparisons, ${writes} ` +
      `writes and ${bytesOf(batch)} bytes; at most ${MAX_OPERATIONS} of each and ${MAX_BYTES} bytes ` +
      'fit. Deploy it in smaller parts',
  );
}

function bytesOf(batch: Batch): number {
  return batch.puts.reduce((sum, put) => sum + put.value.length, 0);
}

/** What is left of one transaction. */
class Room {
  #guards: number;
  #writes = 0;
  #bytes = 0;
  readonly #keys = new Set<string>();

  constructor(sharedGuards: number) {
    this.#guards = sharedGuards;
  }

  fits(batch: Batch): boolean {
    return (
      this.#guards + batch.guards.length <= MAX_OPERATIONS &&
      this.#writes + batch.puts.length + batch.deletes.length <= MAX_OPERATIONS &&
      this.#bytes + bytesOf(batch) <= MAX_BYTES &&
      !keysOf(batch).some((key) => this.#keys.has(key))
    );
  }

  take(batch: Batch): void {
    this.#guards += batch.guards.length;
    this.#writes += batch.puts.length + batch.deletes.length;
    this.#bytes += bytesOf(batch);
    for (const key of keysOf(batch)) this.#keys.add(key);
  }
}

function keysOf(batch: Batch): string[] {
  return [...batch.puts.map((put) => put.key), ...batch.deletes];
}
