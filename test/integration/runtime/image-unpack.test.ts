import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
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
import { describeTree, makeRichTree, type TreeFeature } from '../../support/file-tree.js';

const LIMITS: UnpackLimits = { maxEntries: 10_000, maxBytes: 2 ** 30, maxImpliedBytes: 1e6 };
const PACK = { maxBuffer: 64 * 1024 * 1024, stdio: 'pipe' } as const;
const XATTRS = ['--xattrs', '--xattrs-include=*'];
const OLD_LACKS: readonly TreeFeature[] = ['xattrs', 'fractions', 'wide', 'holes', 'special'];

function gnu(format: string, ...more: readonly string[]): string[] {
  return ['tar', `--format=${format}`, '--numeric-owner', ...more, '-cf', '-'];
}

function bsd(format: string, ...more: readonly string[]): string[] {
  return ['bsdtar', `--format=${format}`, '--numeric-owner', ...more, '-cf', '-'];
}

describe('unpacking in the worker thread', () => {
  let kernel: Kernel;
  let unpacker: Unpacker;
  let dir: string;
  let jobs = 0;

  before(function () {
    requiresRoot(this);
    for (const command of ['tar', 'bsdtar', 'setfattr', 'setcap']) requiresCommand(this, command);
  });

  beforeEach(async () => {
    dir = mkdtempSync('/var/tmp/ht-unpack-');
    kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    unpacker = new Unpacker({ clock: systemClock });
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

  /** What each packs: a tree with everything that its format can say. */
  const packers: { name: string; argv: string[]; lacks: readonly TreeFeature[] }[] = [
    { name: 'GNU tar, gnu', argv: gnu('gnu', '--sparse'), lacks: ['xattrs', 'fractions'] },
    { name: 'GNU tar, ustar', argv: gnu('ustar'), lacks: ['xattrs', 'fractions', 'wide', 'holes'] },
    { name: 'GNU tar, v7', argv: gnu('v7'), lacks: OLD_LACKS },
    ...['0.0', '0.1', '1.0'].map((version) => ({
      name: `GNU tar, posix with sparse files ${version}`,
      argv: gnu('posix', '--sparse', `--sparse-version=${version}`, ...XATTRS),
      lacks: [],
    })),
    // libarchive writes -1.5 s as -2.5
    { name: 'bsdtar, pax', argv: bsd('pax', '--xattrs'), lacks: ['early fractions'] },
    { name: 'bsdtar, ustar', argv: bsd('ustar'), lacks: ['xattrs', 'fractions', 'wide', 'holes'] },
    { name: 'bsdtar, gnutar', argv: bsd('gnutar'), lacks: ['xattrs', 'fractions', 'holes'] },
  ];
  for (const { name, argv, lacks } of packers) {
    it(`unpacks what ${name} packed to the same files as tar itself`, async () => {
      const source = join(dir, 'source');
      makeRichTree(source, lacks);
      const [program = '', ...args] = argv;
      const tar = execFileSync(program, [...args, '-C', source, '.'], PACK);
      const expected = join(dir, 'expected');
      mkdirSync(expected);
      const unpackArgs = ['-C', expected, '-xpf', '-', '--same-owner', '--numeric-owner'];
      const xattrs = program === 'tar' && !lacks.includes('xattrs') ? XATTRS : [];
      execFileSync(program, [...unpackArgs, ...xattrs], { input: tar, stdio: 'pipe' });
      const ours = describeTree(await unpack(gzipSync(tar)));
      assert.deepEqual(ours, describeTree(source));
      const theirs = describeTree(expected);
      // tar itself loses times of directories that it comes back to
      for (const [path, file] of Object.entries(theirs)) {
        if (lstatSync(Buffer.from(join(expected, path), 'latin1')).isDirectory()) {
          file.mtimeNs = ours[path]?.mtimeNs ?? 0n;
        }
      }
      assert.deepEqual(theirs, ours);
    });
  }

  it('leaves out the zeros of files that are not stored as sparse', async () => {
    const source = join(dir, 'source');
    makeRichTree(source, []);
    const tar = execFileSync('tar', ['-C', source, '-cf', '-', 'holes'], PACK);
    const out = await unpack(tar);
    const [ours, theirs] = [lstatSync(join(out, 'holes')), lstatSync(join(source, 'holes'))];
    assert.equal(ours.size, theirs.size);
    assert.ok(ours.blocks * 512 < ours.size / 8, `${ours.blocks} blocks`);
    assert.ok(readFileSync(join(out, 'holes')).equals(readFileSync(join(source, 'holes'))));
  });

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
    const own = new Unpacker({ clock });
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
