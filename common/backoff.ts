import type { Random } from './random.js';

/**
 * Exponential delay with full jitter on its upper half: attempt 1 → [base/2, base], doubling up to
 * `maxMs`.
 * @param attempt counts from 1
 */
export function backoffMs(
  attempt: number,
  options: { baseMs: number; maxMs: number },
  random: Random,
): number {
  const ceiling = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(ceiling / 2 + (random.next() * ceiling) / 2);
}
