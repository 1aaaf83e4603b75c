import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { silentLogger } from '../../../../common/logger.js';
import { toDigest } from '../../../../runtime/core/digest.js';
import { LastUse } from '../../../../runtime/image/last-use.js';
import { FakeClock } from '../../../support/fake-clock.js';

const A = toDigest(`sha256:${'a'.repeat(64)}`);
const B = toDigest(`sha256:${'b'.repeat(64)}`);

describe('when images were last used', () => {
  let dir: string;
  let clock: FakeClock;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-last-use-'));
    clock = new FakeClock(1000);
  });

  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  const open = (): Promise<LastUse> => LastUse.open(dir, { clock, logger: silentLogger });
  const written = (): string => readFileSync(join(dir, 'last-use.json'), 'utf8');

  it('is written once for many uses, some seconds later', async () => {
    const uses = await open();
    uses.touch(A);
    await clock.advance(4999);
    assert.throws(written, { code: 'ENOENT' });
    uses.touch(B);
    await clock.advance(1);
    await uses[Symbol.asyncDispose]();
    assert.deepEqual(JSON.parse(written()), { [A]: 1000, [B]: 5999 });
  });

  it('is written at the end, and read again', async () => {
    const uses = await open();
    uses.touch(A);
    uses.touch(B);
    uses.forget(B);
    await uses[Symbol.asyncDispose]();
    const again = await open();
    assert.deepEqual([again.of(A), again.of(B)], [1000, undefined]);
  });

  it('is forgotten where the file is damaged', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.json()), async (text) => {
        writeFileSync(join(dir, 'last-use.json'), text);
        assert.equal((await open()).of(A), undefined);
      }),
      { numRuns: 50 },
    );
  });

  it('ends quietly where it cannot be written', async () => {
    const uses = await open();
    rmSync(dir, { recursive: true });
    uses.touch(A);
    await uses[Symbol.asyncDispose]();
    assert.equal(uses.of(A), 1000);
    dir = mkdtempSync(join(tmpdir(), 'ht-last-use-'));
  });
});
