import assert from 'node:assert/strict';

const WITHIN = 0.1;
/** A fair balancer is further from even less than once in a million runs. */
const DEVIATIONS = 5.2;

/**
 * Counts of what was spread over several: each must be within a tenth of an even share.
 * @throws also when there are too few to tell a fair balancer from an unfair one
 */
export function assertEven(counts: readonly number[]): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const share = total / counts.length;
  const deviation = Math.sqrt(share * (1 - 1 / counts.length));
  assert.ok(share * WITHIN >= DEVIATIONS * deviation, `${total} are too few to tell`);
  for (const count of counts) {
    const text = `${counts.join(' ')}: more than a tenth from even, which is ${Math.round(share)}`;
    assert.ok(Math.abs(count - share) <= share * WITHIN, text);
  }
}
