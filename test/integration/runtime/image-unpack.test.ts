import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';
import type { UnpackLimits } from '../../../runtime/content/unpack-layer.js';
import { Unpacker } from '../../../runtime/content/unpacker.js';
import { FakeClock } from '../../support/fake-clock.js';
import { makeTar } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';

const LIMITS: UnpackLimits = { maxEntries: 10_000, maxBytes: 2 ** 30 };

/** Everything about a tree that a layer has to keep; names as byte strings. */
function describeTree(root: string, path = '.'): Record<string, unknown> {
  const full = Buffer.from(`${root}/${path}`, 'latin1');
  const stat = lstatSync(full);
  const kind = stat.isSymbolicLink() ? readlinkSync(full) : stat.mode & 0o170000;
  const content = stat.isFile() ? readFileSync(full, 'hex') : '';
  const mtimeMs = Math.floor(stat.mtimeMs); // Node sets times in microseconds
  const all: Record<string, unknown> = {
    [path]: [kind, stat.mode & 0o7777, stat.uid, stat.gid, mtimeMs, stat.nlink, content],
  };
  if (!stat.isDirectory()) return all;
  for (const name of readdirSync(full, 'latin1')) {
    Object.assign(all, describeTree(root, `${path}/${name}`));
  }
  return all;
}

describe('unpacking in the worker thread', () => {
  let kernel: Kernel;
  let unpacker: Unpacker;
  let dir: string;
  let jobs = 0;

  before(function () {
    requiresRoot(this);
    requiresCommand(this, 'tar');
  });

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/ht-unpack-');
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    unpacker = new Unpacker({ files: kernel.files, clock: systemClock });
  });

  afterEach(async () => {
    await unpacker[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true });
  });

  /** Unpacks a tar and returns the folder. */
  async function unpack(tar: Buffer, limits = LIMITS): Promise<string> {
    const job = ++jobs;
    const [blobPath, targetDir] = [join(dir, `blob${job}`), join(dir, `out${job}`)];
    writeFileSync(blobPath, tar);
    mkdirSync(targetDir);
    await unpacker.unpack({ blobPath, targetDir, limits });
    return targetDir;
  }

  for (const format of ['gnu', 'posix', 'ustar', 'v7']) {
    it(`gives the same files as GNU tar from a tar in its ${format} format`, async () => {
      const source = join(dir, 'source');
      const long = `${'long-name-'.repeat(9)}.txt`;
      mkdirSync(join(source, 'a'), { recursive: true });
      writeFileSync(join(source, 'a', 'file'), 'x'.repeat(100_000));
      chownSync(join(source, 'a', 'file'), 1000, 1001);
      chmodSync(join(source, 'a', 'file'), 0o6755);
      writeFileSync(join(source, long), '');
      writeFileSync(Buffer.from(`${source}/latin-\xe9`, 'latin1'), 'bytes');
      writeFileSync(join(source, 'grüße-€'), 'utf-8');
      linkSync(join(source, 'a', 'file'), join(source, 'hard'));
      symlinkSync('a/file', join(source, 'soft'));
      utimesSync(join(source, 'a', 'file'), 1_600_000_000, 1_600_000_000);
      utimesSync(join(source, 'a'), 1_500_000_000, 1_500_000_000);
      const tar = execFileSync('tar', ['-C', source, `--format=${format}`, '-cf', '-', '.']);
      const expected = join(dir, 'expected');
      mkdirSync(expected);
      execFileSync('tar', ['-C', expected, '-xpf', '-', '--same-owner'], { input: tar });
      assert.deepEqual(describeTree(await unpack(gzipSync(tar))), describeTree(expected));
    });
  }

  it('ends with an error at a limit, and goes on with the next layer', async () => {
    const tar = await makeTar([1, 2, 3].map((n) => ({ name: `f${n}`, content: 'x' })));
    const few = { ...LIMITS, maxEntries: 2 };
    await assert.rejects(unpack(tar, few), {
      kind: 'resource-exhausted',
      message: 'the layer has more than 2 entries',
    });
    const small = { ...LIMITS, maxBytes: 1000 };
    // a gzip bomb is measured by what it becomes
    await assert.rejects(unpack(gzipSync(tar), small), {
      kind: 'resource-exhausted',
      message: 'the layer has more than 1000 bytes uncompressed',
    });
    assert.equal(readdirSync(await unpack(tar)).length, 3);
  });

  it('gives up a job, whether it runs or waits', async () => {
    const tar = await makeTar(
      Array.from({ length: 2000 }, (_, n) => ({ name: `f${n}`, content: 'x'.repeat(4000) })),
    );
    const blobPath = join(dir, 'blob');
    writeFileSync(blobPath, tar);
    const begin = (name: string, signal: AbortSignal): Promise<unknown> => {
      mkdirSync(join(dir, name));
      const job = { blobPath, targetDir: join(dir, name), limits: LIMITS };
      return unpacker.unpack(job, { signal });
    };
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = assert.rejects(begin('one', running.signal), { kind: 'cancelled' });
    const second = assert.rejects(begin('two', waiting.signal), /no more/);
    waiting.abort(new Error('no more'));
    running.abort(new Error('no more'));
    await Promise.all([first, second]);
    assert.deepEqual(readdirSync(join(dir, 'two')), []);
  });

  it('ends its thread when there is nothing to do, and starts another', async () => {
    const clock = new FakeClock();
    const own = new Unpacker({ files: kernel.files, clock });
    const tar = await makeTar([{ name: 'f', content: 'x' }]);
    writeFileSync(join(dir, 'blob'), tar);
    for (const name of ['one', 'two']) {
      mkdirSync(join(dir, name));
      const job = { blobPath: join(dir, 'blob'), targetDir: join(dir, name), limits: LIMITS };
      await own.unpack(job);
      assert.equal(clock.pendingTimers, 1);
      await clock.advance(5000);
      assert.equal(clock.pendingTimers, 0);
    }
    await own[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(join(dir, 'two')), ['f']);
  });
});
