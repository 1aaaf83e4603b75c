import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { RootedTree } from '../../../../runtime/files/rooted-tree.js';
import { inChunks, packTree } from '../../../../runtime/files/tree-packer.js';
import { TreeUnpacker, type UnpackCalls } from '../../../../runtime/files/tree-unpacker.js';
import type { TarKind } from '../../../../runtime/core/tar-header.js';
import { tarOf, untar, type TarFile } from '../../../support/tar-files.js';

/** Nothing here needs root: attributes are not kept, devices not made. */
const calls: UnpackCalls = {
  setXattr: () => undefined,
  makeNode: () => {
    throw new HatobaError('permission-denied', 'no device nodes here');
  },
};

describe('unpacking below a directory', () => {
  let top: string;
  let root: string;
  let target: string;

  function reset(): void {
    fs.rmSync(top, { recursive: true, force: true });
    fs.mkdirSync(target, { recursive: true });
    fs.mkdirSync(join(top, 'outside'));
    fs.writeFileSync(join(top, 'outside/secret'), 'outside');
  }
  beforeEach(() => {
    top = fs.mkdtempSync(join(tmpdir(), 'ht-unpack-'));
    root = join(top, 'root');
    target = join(root, 'target');
    reset();
  });
  afterEach(() => {
    fs.rmSync(top, { recursive: true });
  });

  function unpack(
    tar: Uint8Array,
    options: {
      followLinks?: boolean;
      rename?: { from: string; to: string };
      pieceBytes?: number;
    } = {},
  ): void {
    const { followLinks = true, pieceBytes = tar.length, ...rest } = options;
    const tree = new RootedTree(root);
    const place = tree.find('/target', { followLast: true });
    const unpacker = new TreeUnpacker(tree, place, {
      calls,
      ownerOf: () => undefined,
      followLinks,
      ...rest,
    });
    try {
      for (let at = 0; at < tar.length; at += pieceBytes) {
        unpacker.push(tar.subarray(at, at + pieceBytes));
      }
      unpacker.end();
    } finally {
      for (const open of [unpacker, place, tree]) open[Symbol.dispose]();
    }
  }
  /** All below a folder, names and content. */
  function listing(folder: string): string[] {
    return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return [`${path}/`, ...listing(path)];
      const { nlink } = fs.lstatSync(path);
      return [`${path} ${nlink} ${entry.isFile() ? fs.readFileSync(path, 'latin1') : 'link'}`];
    });
  }

  /** Stands for the folder outside, wherever a test has it. */
  const OUTSIDE = '@outside';
  const name = fc.constantFrom('a', 'link', 'secret', '..', '.', '', '\xff');
  const path = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom('link', 'link/secret', 'link/new', 'a/link', 'a') },
    fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
  );
  const anywhere = fc.oneof(
    path,
    fc.constantFrom('../../outside', '../../outside/secret', OUTSIDE, `${OUTSIDE}/secret`, '/'),
  );
  const kinds: readonly TarKind[] = ['file', 'file', 'directory', 'symlink', 'symlink', 'hardlink'];
  const hostile: fc.Arbitrary<TarFile[]> = fc.array(
    fc.record({
      name: path,
      kind: fc.constantFrom(...kinds),
      linkName: anywhere,
      mode: fc.nat({ max: 0o7777 }),
      content: fc.constantFrom('', 'x'),
    }),
    { maxLength: 6 },
  );

  for (const followLinks of [true, false]) {
    it(`touches nothing outside, whatever a tar says (links ${followLinks ? 'followed' : 'refused'})`, () => {
      fc.assert(
        fc.property(hostile, (files) => {
          reset();
          const before = listing(join(top, 'outside'));
          const place = (text: string): string => text.replace(OUTSIDE, join(top, 'outside'));
          const tar = tarOf(
            files.map(({ content = '', ...file }) => ({
              ...file,
              linkName: place(file.linkName ?? ''),
              ...(file.kind === 'file' && { content }),
            })),
          );
          try {
            unpack(tar, { followLinks });
          } catch (error) {
            if (!(error instanceof HatobaError)) throw error;
          }
          assert.deepEqual(listing(join(top, 'outside')), before);
          assert.deepEqual(fs.readdirSync(top).sort(), ['outside', 'root']);
          if (!followLinks) assert.deepEqual(fs.readdirSync(root), ['target']);
        }),
        { numRuns: 300 },
      );
    });
  }

  it('takes bytes that are no tar for an error, and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 600, maxLength: 3000 }), (bytes) => {
        assert.throws(() => unpack(bytes), { kind: 'invalid-argument' });
      }),
    );
  });

  it('gives back what was packed, however the stream is cut', () => {
    const name = fc.constantFrom('a', 'b', 'caf\u00e9', 'x'.repeat(120));
    const files = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 2000 })), {
      selector: ([n]) => n,
    });
    fc.assert(
      fc.property(files, fc.integer({ min: 100, max: 5000 }), (wanted, pieceBytes) => {
        reset();
        const tar = tarOf(wanted.map(([n, content]) => ({ name: `d/${n}`, content })));
        unpack(tar, { pieceBytes });
        const tree = new RootedTree(root);
        const node = tree.find('/target', { followLast: true });
        const packed = Buffer.concat([...inChunks(packTree(tree, node, { topName: '.' }))]);
        for (const open of [node, tree]) open[Symbol.dispose]();
        const back = untar(packed)
          .filter(({ kind }) => kind === 'file')
          .map((file) => [file.name, file.content.toString('hex')]);
        const expected = wanted.map(([n, content]) => [
          `./d/${n}`,
          Buffer.from(content).toString('hex'),
        ]);
        assert.deepEqual(back.sort(), expected.sort());
      }),
    );
  });

  it('puts another name in the place of the first part, also in hard links', () => {
    const files: TarFile[] = [
      { name: 'src/', kind: 'directory' },
      { name: 'src/f', content: 'x' },
      { name: 'src/g', kind: 'hardlink', linkName: 'src/f' },
      { name: 'src/l', kind: 'symlink', linkName: 'src/f' },
    ];
    unpack(tarOf(files), { rename: { from: 'src', to: 'dst' } });
    assert.deepEqual(fs.readdirSync(join(target, 'dst')), ['f', 'g', 'l']);
    assert.equal(fs.readFileSync(join(target, 'dst/g'), 'utf8'), 'x');
    assert.equal(fs.readlinkSync(join(target, 'dst/l')), 'src/f');
    reset();
    unpack(tarOf([{ name: './f', content: 'x' }]), { rename: { from: '.', to: 'new' } });
    assert.equal(fs.readFileSync(join(target, 'new/f'), 'utf8'), 'x');
  });

  it('writes into directories that it makes read-only, and sets their times last', () => {
    const time = { mtimeMs: 5000, mtimeNs: 5_000_000_000n };
    unpack(
      tarOf([
        { name: 'd/', kind: 'directory', mode: 0o555, ...time },
        { name: 'd/f', content: 'x', mode: 0o400, ...time },
      ]),
    );
    const { mode, mtimeMs } = fs.statSync(join(target, 'd'));
    assert.deepEqual([mode & 0o777, mtimeMs], [0o555, 5000]);
  });

  it('leaves a file that is being run or read as it is, and puts a new one there', () => {
    fs.writeFileSync(join(target, 'f'), 'old');
    const fd = fs.openSync(join(target, 'f'), 'r');
    unpack(tarOf([{ name: 'f', content: 'new' }]));
    assert.equal(fs.readFileSync(fd, 'utf8'), 'old');
    assert.equal(fs.readFileSync(join(target, 'f'), 'utf8'), 'new');
    fs.closeSync(fd);
  });

  it('makes holes of long zeros, and of nothing else', () => {
    const content = Buffer.concat([Buffer.from('a'), Buffer.alloc(1024 * 1024), Buffer.from('z')]);
    unpack(tarOf([{ name: 'f', content }]), { pieceBytes: 128 * 1024 });
    assert.ok(fs.readFileSync(join(target, 'f')).equals(content));
    assert.ok(fs.statSync(join(target, 'f')).blocks * 512 < 1024 * 1024);
  });

  it('says that a tar ends too early', () => {
    const tar = tarOf([{ name: 'f', content: Buffer.alloc(4096) }]);
    assert.throws(() => unpack(tar.subarray(0, 2000)), { kind: 'invalid-argument' });
  });
});
