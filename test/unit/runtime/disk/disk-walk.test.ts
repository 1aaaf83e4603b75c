import assert from 'node:assert/strict';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { removeTree } from '../../../../runtime/content/remove-tree.js';
import { DiskMeter } from '../../../../runtime/disk/disk-meter.js';
import { walkDisk, type DiskAnswer } from '../../../../runtime/disk/disk-walk.js';
import { measureTrees } from '../../../../runtime/files/tree-size.js';
import { diskUse } from '../../../support/file-tree.js';

const GROUPS = ['layers', 'blobs/sha256', 'volumes'];

function totalOf({ groups, otherBytes }: DiskAnswer): number {
  const parts = [...groups.values()].flatMap((g) => [g.ownBytes, ...g.members.values()]);
  return parts.reduce((a, b) => a + b, otherBytes);
}

describe('the walk over the engine folder', () => {
  let root: string;
  const ask = { groups: GROUPS, mountPoints: [], known: new Map<string, number>() };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'ht-walk-'));
    for (const group of GROUPS) mkdirSync(join(root, group), { recursive: true });
  });

  afterEach(async () => {
    await removeTree(root);
  });

  const anyFile = fc.record({
    path: fc.constantFrom(
      'layers/a/diff',
      'layers/b',
      'blobs/sha256',
      'volumes/v/_data',
      'logs',
      '.',
    ),
    name: fc.nat(40).map((n) => `f${n}`),
    kind: fc.constantFrom('file', 'empty', 'sparse', 'link', 'symlink', 'odd'),
    bytes: fc.nat(40_000),
  });

  it('adds up to what du says, with hard links, sparse files and odd names', () => {
    let count = 0; // all runs write into one folder
    fc.assert(
      fc.property(fc.array(anyFile, { maxLength: 60 }), (files) => {
        const made: string[] = [];
        for (const { path, name, kind, bytes } of files) {
          mkdirSync(join(root, path), { recursive: true });
          const file = Buffer.from(`${join(root, path, name)}-${++count}`);
          const target = made.at(bytes % Math.max(1, made.length));
          if (kind === 'link' && target !== undefined) linkSync(target, file);
          else if (kind === 'symlink') symlinkSync('/etc', file);
          else if (kind === 'odd')
            writeFileSync(Buffer.concat([file, Buffer.from([0xff, 0x0a])]), 'x');
          else {
            writeFileSync(file, kind === 'file' ? Buffer.alloc(bytes, 1) : '');
            if (kind === 'sparse') truncateSync(file, 10_000_000);
            made.push(file.toString());
          }
        }
        assert.equal(totalOf(walkDisk({ ...ask, root })), diskUse(root));
      }),
      { numRuns: 15 },
    );
  });

  it('measures folders nested deeper than paths and stacks are', () => {
    const top = join(root, 'layers/deep');
    mkdirSync(top);
    const before = process.cwd();
    try {
      process.chdir(top);
      for (let depth = 0; depth < 5000; depth++) {
        mkdirSync('d');
        process.chdir('d');
      }
      writeFileSync('bottom', Buffer.alloc(1_000_000, 1));
    } finally {
      process.chdir(before);
    }
    const deep =
      walkDisk({ ...ask, root })
        .groups.get('layers')
        ?.members.get('deep') ?? 0;
    assert.ok(deep >= 1_000_000);
    assert.equal(measureTrees([top]), deep);
  });

  it('tells the members of groups apart, and trusts what is known', () => {
    mkdirSync(join(root, 'layers/a'));
    writeFileSync(join(root, 'layers/a/file'), Buffer.alloc(10_000, 1));
    mkdirSync(join(root, 'layers/b'));
    const { groups } = walkDisk({ ...ask, root, known: new Map([['layers/b', 77]]) });
    const layers = groups.get('layers');
    assert.deepEqual(
      [...(layers?.members ?? [])],
      [
        ['a', diskUse(join(root, 'layers/a'))],
        ['b', 77],
      ],
    );
    assert.deepEqual([...groups.keys()], GROUPS);
  });

  it('leaves out what is mounted', () => {
    mkdirSync(join(root, 'volumes/v/_data'), { recursive: true });
    writeFileSync(join(root, 'volumes/v/_data/file'), Buffer.alloc(100_000, 1));
    const mountPoints = [join(root, 'volumes/v/_data')];
    const { groups } = walkDisk({ ...ask, root, mountPoints });
    const whole = diskUse(join(root, 'volumes/v'));
    assert.equal(groups.get('volumes')?.members.get('v'), whole - diskUse(mountPoints[0] ?? ''));
  });

  it('counts folders nested deeper than a path may be long', () => {
    const deep = (top: string): string => join(root, top, `${'n'.repeat(200)}/`.repeat(15));
    for (const top of ['volumes/v', 'other']) mkdirSync(deep(top), { recursive: true });
    writeFileSync(join(deep('other'), 'file'), Buffer.alloc(10_000, 1));
    renameSync(join(root, 'other'), join(deep('volumes/v'), 'moved'));
    assert.equal(totalOf(walkDisk({ ...ask, root })), diskUse(root));
  });

  it('works in a thread, shared by those who ask at once', async () => {
    writeFileSync(join(root, 'blobs/sha256/one'), Buffer.alloc(50_000, 1));
    const meter = new DiskMeter(root, GROUPS);
    const [one, other] = await Promise.all([meter.measure(), meter.measure()]);
    assert.equal(one, other);
    assert.equal(totalOf(one), diskUse(root));
  });

  it('says which folder it could not measure', async () => {
    const meter = new DiskMeter(join(root, 'none'), GROUPS);
    await assert.rejects(meter.measure(), {
      kind: 'internal',
      message: /measuring .*none: ENOENT/,
    });
  });
});
