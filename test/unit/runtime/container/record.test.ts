import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { ContainerPaths } from '../../../../runtime/container/paths.js';
import {
  NEW_STATUS,
  readStatus,
  writeStatus,
  type ContainerStatus,
} from '../../../../runtime/container/record.js';

describe('state of a container on disk', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ht-record-'));
  const files = new ContainerPaths(dir, dir).of('c1');
  before(() => mkdirSync(files.dir, { recursive: true }));
  after(() => rmSync(dir, { recursive: true }));

  const statusWith = (healthOutput: string): ContainerStatus => ({
    ...NEW_STATUS,
    status: 'running',
    process: { pid: 7, startTicks: 1234, bootId: 'boot' },
    health: 'healthy',
    healthOutput,
    failingStreak: 0,
    oomKilled: false,
  });

  it('is read as it was written, whatever was there before, and leaves no other file', () => {
    const anyOutput = fc.string({ unit: 'binary', maxLength: 3000 });
    fc.assert(
      fc.property(fc.array(anyOutput, { minLength: 1, maxLength: 6 }), (outputs) => {
        for (const output of outputs) {
          writeStatus(files, statusWith(output));
          assert.deepEqual(readStatus(files), statusWith(output));
        }
        assert.deepEqual(readdirSync(files.dir), ['state.json']);
      }),
      { numRuns: 40 }, // files, not memory
    );
  });

  it('of a short text takes the place of a long one', () => {
    writeStatus(files, statusWith('x'.repeat(5000)));
    writeStatus(files, statusWith('é'.repeat(600)));
    assert.deepEqual(readStatus(files), statusWith('é'.repeat(600)));
    writeStatus(files, statusWith(''));
    assert.deepEqual(readStatus(files), statusWith(''));
  });

  it('that was never written whole counts as none', () => {
    writeFileSync(files.status, '');
    assert.equal(readStatus(files), undefined);
  });
});
