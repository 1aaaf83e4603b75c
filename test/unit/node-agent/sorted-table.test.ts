import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SortedTable } from '../../../node-agent/core/sorted-table.js';

const key = fc.integer({ min: 0, max: 60 }).map((n) => `k${n}`);
const entries = fc.array(fc.tuple(key, fc.nat()), { maxLength: 60 });
const changes = fc.array(fc.tuple(key, fc.option(fc.nat(), { nil: undefined })), { maxLength: 20 });

describe('SortedTable', () => {
  it('holds what a map would hold after the same changes, in order of the keys', () => {
    fc.assert(
      fc.property(entries, fc.array(changes, { maxLength: 5 }), (first, steps) => {
        const expected = new Map(first);
        let table = SortedTable.from(first);
        for (const step of steps) {
          table = table.with(new Map(step));
          for (const [k, value] of new Map(step)) {
            if (value === undefined) expected.delete(k);
            else expected.set(k, value);
          }
        }
        const keys = [...expected.keys()].sort();
        assert.deepEqual(table.keys(), keys);
        assert.deepEqual(
          table.values,
          keys.map((k) => expected.get(k)),
        );
        for (let n = 0; n <= 60; n++) {
          assert.equal(table.get(`k${n}`), expected.get(`k${n}`));
          assert.equal(table.has(`k${n}`), expected.has(`k${n}`));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('stays as it is when another is made of it', () => {
    fc.assert(
      fc.property(entries, changes, (first, step) => {
        const table = SortedTable.from(first);
        const before = [[...table.keys()], [...table.values]];
        table.with(new Map(step));
        assert.deepEqual([table.keys(), table.values], before);
      }),
    );
  });
});
