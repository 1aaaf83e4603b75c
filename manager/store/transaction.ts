import { HatobaError } from '../../common/errors.js';
import { MAX_OPERATIONS } from './batch.js';
import type { Transaction } from './store.js';

/**
 * What every store refuses alike, before it does anything.
 * @throws {HatobaError} invalid-argument
 */
export function validateTransaction({ guards, puts, deletes }: Transaction): void {
  const writes = puts.length + deletes.length;
  if (guards.length > MAX_OPERATIONS || writes > MAX_OPERATIONS) {
    throw new HatobaError(
      'invalid-argument',
      `a transaction of ${guards.length} guards and ${writes} writes; at most ${MAX_OPERATIONS} of each fit`,
    );
  }
  const keys = new Set<string>();
  for (const key of [...puts.map((p) => p.key), ...deletes]) {
    if (key === '') throw new HatobaError('invalid-argument', 'a key must not be empty');
    if (keys.has(key))
      throw new HatobaError('invalid-argument', `${key} is written twice in one transaction`);
    keys.add(key);
  }
}

/** The error of a transaction whose guards do not hold. */
export function conflictOf(transaction: Transaction): HatobaError {
  const keys = transaction.guards.slice(0, 3).map((g) => g.key);
  const more = transaction.guards.length > keys.length ? ', …' : '';
  return new HatobaError(
    'conflict',
    `the state changed meanwhile (one of ${keys.join(', ')}${more}): read again and repeat`,
  );
}
