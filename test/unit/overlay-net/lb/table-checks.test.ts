import assert from 'node:assert/strict';
import type { Nftables } from '../../../../linux/ports.js';
import { TableChecks } from '../../../../overlay-net/lb/table-checks.js';

const WHOLE = [{ table: { family: 'ip', name: 'hatoba', handle: 7 } }];

/** Tables without elements, which can be emptied and made anew. */
class FakeTables {
  listing: unknown[] = WHOLE;
  structure = 1;
  /** What the next questions whether others have changed anything are answered. */
  readonly others: boolean[] = [];

  readonly nftables: Pick<Nftables, 'run' | 'query' | 'isChangedByOthers'> = {
    run: () => Promise.resolve(),
    query: (command) => Promise.resolve(command === 'list table ip hatoba' ? this.listing : []),
    isChangedByOthers: () => Promise.resolve(this.others.shift() ?? false),
  };
  readonly checks = new TableChecks(
    {
      structure: () => this.structure,
      elements: () => new Map(),
      remake: () => {
        this.listing = WHOLE;
        this.structure++;
        return Promise.resolve();
      },
    },
    this.nftables,
  );
}

describe('checks of the tables', () => {
  const repaired = [{ change: 'added', what: 'table, table ip hatoba' }];

  it('look only where others have changed something, and then once', async () => {
    const tables = new FakeTables();
    assert.equal(await tables.checks.isSuspect(), false);
    tables.listing = [];
    assert.equal(await tables.checks.isSuspect(), false, 'nobody has said so');
    tables.others.push(true);
    assert.equal(await tables.checks.isSuspect(), true);
    assert.deepEqual(await tables.checks.repair(), repaired);
    assert.equal(await tables.checks.isSuspect(), false);
  });

  it('take nothing for granted that others have changed during a repair', async () => {
    const tables = new FakeTables();
    assert.equal(await tables.checks.isSuspect(), false);
    tables.listing = [];
    tables.others.push(true);
    assert.equal(await tables.checks.isSuspect(), true);
    tables.others.push(true);
    assert.deepEqual(await tables.checks.repair(), repaired);
    assert.equal(await tables.checks.isSuspect(), true);
  });
});
