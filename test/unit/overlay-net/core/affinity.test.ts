import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  assignBuckets,
  BUCKETS,
  type AffinityTask,
} from '../../../../overlay-net/core/affinity.js';

const task = (slot: number, more: Partial<AffinityTask> = {}): AffinityTask => ({
  address: `10.0.1.${slot + 10}`,
  home: String(slot),
  ready: true,
  ...more,
});
const tasks = (count: number): AffinityTask[] =>
  Array.from({ length: count }, (_, i) => task(i + 1));
const countOf = (buckets: readonly string[], address: string): number =>
  buckets.filter((b) => b === address).length;

describe('client affinity', () => {
  it('shares the buckets evenly', () => {
    for (let count = 1; count <= 100; count++) {
      const buckets = assignBuckets(tasks(count));
      assert.equal(buckets.length, BUCKETS);
      for (const { address } of tasks(count)) {
        const share = countOf(buckets, address);
        assert.ok(Math.abs(share - BUCKETS / count) < 1, `${share} of ${BUCKETS} for 1/${count}`);
      }
    }
  });

  it('gives every node the same answer, in whatever order it knows the tasks', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(tasks(12), { minLength: 1 }), (some) => {
        const sorted = [...some].sort((a, b) => a.address.localeCompare(b.address));
        assert.deepEqual(assignBuckets(some), assignBuckets(sorted));
      }),
    );
  });

  it('moves only the clients of tasks that are not ready, and moves them back', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 2, maxLength: 20 }), (ready) => {
        const all = tasks(ready.length);
        const before = assignBuckets(all);
        const after = assignBuckets(all.map((t, i) => ({ ...t, ready: ready[i] ?? true })));
        if (!ready.includes(true)) {
          assert.deepEqual(after, []);
          return;
        }
        const lost = new Set(all.filter((_, i) => ready[i] === false).map((t) => t.address));
        for (const [bucket, address] of after.entries()) {
          assert.ok(!lost.has(address));
          if (!lost.has(before[bucket] ?? '')) assert.equal(address, before[bucket]);
        }
      }),
    );
  });

  it('spreads the clients of a lost task over all others', () => {
    const after = assignBuckets(tasks(5).map((t, i) => ({ ...t, ready: i !== 0 })));
    for (const { address } of tasks(5).slice(1)) {
      const share = countOf(after, address);
      assert.ok(share > 51 && share < 75, `${address} has ${share}`);
    }
  });

  it('leads the clients of a slot to the task that replaces another one there', () => {
    const before = assignBuckets(tasks(7));
    const replaced = { ...task(3), ready: false };
    const after = assignBuckets(
      [...tasks(7), task(3, { address: '10.0.1.99' })].map((t) =>
        t.address === replaced.address ? replaced : t,
      ),
    );
    const wanted = before.map((b) => (b === replaced.address ? '10.0.1.99' : b));
    assert.deepEqual(after, wanted);
  });

  it('moves few clients of others when a slot is added', () => {
    for (let count = 2; count < 40; count++) {
      const before = assignBuckets(tasks(count));
      const after = assignBuckets(tasks(count + 1));
      const fresh = task(count + 1).address;
      const moved = after.filter((a, i) => a !== fresh && a !== before[i]).length;
      assert.ok(moved < BUCKETS * 0.2, `${moved} buckets moved among ${count} tasks that stay`);
    }
  });
});
