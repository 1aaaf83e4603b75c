import assert from 'node:assert/strict';
import {
  existsSync,
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
import fc from 'fast-check';
import { isKind } from '../../../common/errors.js';
import { pathCalls } from '../../../linux/path-calls.js';
import { unpackLayer, type UnpackLimits } from '../../../runtime/content/unpack-layer.js';
import { describeTree } from '../../support/file-tree.js';
import {
  dockerArchive,
  folder,
  makeImage,
  makeTar,
  streamOf,
  type TarFile,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

const LIMITS: UnpackLimits = { maxEntries: 1000, maxBytes: 2 ** 24, maxImpliedBytes: 9000 };
const NULL_DEVICE = { devmajor: 1, devminor: 3 };

describe('hostile layers', () => {
  /** Holds `outside`, which no layer may touch, and what is unpacked. */
  let dir: string;
  let outside: string;
  let untouched: unknown;
  let jobs = 0;

  before(function () {
    requiresRoot(this);
  });
  beforeEach(() => {
    dir = mkdtempSync('/var/tmp/ht-hostile-');
    outside = join(dir, 'outside');
    mkdirSync(join(outside, 'dir'), { recursive: true, mode: 0o700 });
    writeFileSync(join(outside, 'victim'), 'untouched', { mode: 0o600 });
    untouched = describeTree(outside);
  });
  afterEach(() => {
    assert.deepEqual(describeTree(outside), untouched);
    rmSync(dir, { recursive: true });
  });

  async function unpackTar(tar: Buffer, limits = LIMITS): Promise<string> {
    const job = ++jobs;
    const [blobPath, targetDir] = [join(dir, `blob${job}`), join(dir, `layer${job}`)];
    writeFileSync(blobPath, tar);
    mkdirSync(targetDir);
    const nothing = (): void => undefined;
    const context = { files: pathCalls, onProgress: nothing, throwIfCancelled: nothing };
    await unpackLayer({ blobPath, targetDir, limits }, context);
    return targetDir;
  }
  const unpack = async (...files: TarFile[]): Promise<string> => unpackTar(await makeTar(files));

  const refused: { name: string; layer: () => TarFile[]; message: RegExp }[] = [
    {
      name: 'a name with ..',
      layer: () => [{ name: `../../../..${outside}/dir/x`, content: 'x' }],
      message: /leaves the layer with "\.\."/,
    },
    {
      name: 'a name that only passes through ..',
      layer: () => [folder('a'), { name: 'a/../a/x', content: 'x' }],
      message: /leaves the layer with "\.\."/,
    },
    {
      name: 'a hard link out of the layer',
      layer: () => [{ name: 'l', type: 'link', linkname: `${outside}/victim` }],
      message: /hard link to ".*", which the layer does not have/,
    },
    {
      name: 'a hard link upwards',
      layer: () => [{ name: 'l', type: 'link', linkname: `../outside/victim` }],
      message: /leaves the layer with "\.\."/,
    },
    {
      name: 'a hard link through a symbolic link',
      layer: () => [
        { name: 's', type: 'symlink', linkname: outside },
        { name: 'l', type: 'link', linkname: 's/victim' },
      ],
      message: /hard link to "s\/victim", which the layer does not have/,
    },
    {
      name: 'a hard link to a file that comes later',
      layer: () => [
        { name: 'l', type: 'link', linkname: 'f' },
        { name: 'f', content: 'x' },
      ],
      message: /hard link to "f", which the layer does not have/,
    },
    {
      name: 'a hard link to a directory',
      layer: () => [folder('d'), { name: 'l', type: 'link', linkname: 'd' }],
      message: /hard link to "d", which is no file/,
    },
    {
      name: 'a whiteout of the parent',
      layer: () => [folder('a'), { name: 'a/.wh...' }],
      message: /deletes no file by name/,
    },
    {
      name: 'a file below a device',
      layer: () => [
        { name: 'disk', type: 'block-device', devmajor: 8, devminor: 0 },
        { name: 'disk/x', content: 'x' },
      ],
      message: /has the parent "disk", which is no directory/,
    },
    {
      name: 'symbolic links in a circle',
      layer: () => [
        { name: 'a', type: 'symlink', linkname: 'b' },
        { name: 'b', type: 'symlink', linkname: 'a' },
        { name: 'a/x', content: 'x' },
      ],
      message: /too many symbolic links/,
    },
    {
      name: 'the layer itself as a file',
      layer: () => [{ name: './', type: 'symlink', linkname: '/' }],
      message: /is the layer itself and no directory/,
    },
  ];
  it('refuses a few long names that imply very many directories', async () => {
    // 50 folders in each other, whose paths have some 2500 bytes together
    const deep = (top: string): TarFile => ({ name: `${top}${'/d'.repeat(49)}/f`, content: '' });
    await unpack(deep('a'), deep('b'), deep('c'));
    await assert.rejects(unpack(deep('a'), deep('b'), deep('c'), deep('d')), {
      kind: 'resource-exhausted',
      message: /too many files in directories without an entry/,
    });
    const said = ['a', 'b', 'c', 'd'].map((top) => folder(top));
    await unpack(...said, ...['a', 'b', 'c'].map(deep));
  });

  for (const { name, layer, message } of refused) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(unpack(...layer()), { kind: 'invalid-argument', message });
    });
  }

  it('resolves symbolic links in parents inside the layer', async () => {
    const root = await unpack(
      { name: 's', type: 'symlink', linkname: outside },
      { name: 's/dir/x', content: 'x' },
      { name: 'up', type: 'symlink', linkname: `../../../../../..${outside}/dir` },
      { name: 'up/y', content: 'y' },
      { name: 'victim', type: 'symlink', linkname: `${outside}/victim` },
      { name: 'victim', content: 'written over' },
      { name: 'perm', type: 'symlink', linkname: outside },
      folder('perm', 0o777),
      { ...folder('time'), mtime: new Date(0) },
      { name: 'time', type: 'symlink', linkname: outside },
      { name: 'white', type: 'symlink', linkname: outside },
      { name: 'white/.wh.victim' },
      { name: '/abs', content: 'a' },
    );
    const inside = join(root, outside);
    assert.deepEqual(readdirSync(join(inside, 'dir')).sort(), ['x', 'y']);
    assert.equal(readFileSync(join(root, 'victim'), 'utf8'), 'written over');
    assert.equal(readFileSync(join(root, 'abs'), 'utf8'), 'a');
    assert.ok(lstatSync(join(root, 'perm')).isDirectory());
    assert.ok(lstatSync(join(inside, 'victim')).isCharacterDevice(), 'the whiteout is inside');
  });

  it('never opens a device or a fifo to write to it', async () => {
    const root = await unpack(
      { name: 'null', type: 'character-device', ...NULL_DEVICE },
      { name: 'null', content: 'instead' },
      { name: 'pipe', type: 'fifo' },
      { name: 'pipe', content: 'instead' },
      { name: 'link', type: 'character-device', ...NULL_DEVICE },
      { name: 'link2', type: 'link', linkname: 'link' },
      { name: 'link2', content: 'instead' },
    );
    for (const name of ['null', 'pipe', 'link2']) {
      assert.equal(readFileSync(join(root, name), 'utf8'), 'instead');
    }
    assert.ok(lstatSync(join(root, 'link')).isCharacterDevice());
  });

  const bombs: { name: string; tar: () => Promise<Buffer>; message: RegExp }[] = [
    {
      name: 'that unpacks to more than it may',
      tar: async () => {
        const content = Buffer.alloc(LIMITS.maxBytes / 8);
        return gzipSync(
          await makeTar(
            ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => ({ name, content })),
          ),
        );
      },
      message: /more than 16777216 bytes uncompressed/,
    },
    {
      name: 'of too many files',
      tar: () => makeTar(Array.from({ length: 1001 }, (_, i) => ({ name: `${i}` }))),
      message: /more than 1000 entries/,
    },
    {
      name: 'of too many folders that are nowhere said',
      tar: () => makeTar([{ name: `${'d/'.repeat(1000)}f` }]),
      message: /more than 1000 entries/,
    },
    {
      name: 'of files made again and again',
      tar: () => makeTar(Array.from({ length: 1001 }, () => ({ name: 'same' }))),
      message: /more than 1000 entries/,
    },
    {
      name: 'of a hole of terabytes',
      tar: () =>
        makeTar([
          {
            name: 'hole',
            pax: { 'GNU.sparse.map': '', 'GNU.sparse.size': String(2 ** 42) },
          },
        ]),
      message: /"hole" has 4398046511104 bytes; a layer may have 16777216/,
    },
  ];
  for (const { name, tar, message } of bombs) {
    it(`refuses a bomb ${name}`, async () => {
      await assert.rejects(unpackTar(await tar()), { kind: 'resource-exhausted', message });
    });
  }

  it('never touches anything outside, whatever the entries', async () => {
    const part = fc.constantFrom('a', 'b', '..', '.', '', 'link', '.wh.a', '.wh..wh..opq');
    const path = fc.oneof(
      { weight: 6, arbitrary: fc.array(part, { minLength: 1, maxLength: 4 }) },
      { weight: 1, arbitrary: fc.constantFrom(['OUT'], ['OUT', 'victim'], ['..', '..', 'OUT']) },
    );
    const entry = fc.record({
      path,
      target: path,
      type: fc.constantFrom(
        ...(['file', 'file', 'directory', 'symlink', 'symlink', 'link', 'fifo'] as const),
        'character-device' as const,
      ),
      mode: fc.integer({ min: 1, max: 0o7777 }),
      uid: fc.nat(70_000),
    });
    const text = (names: readonly string[]): string => names.join('/').replace('OUT', outside);
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 12 }), async (entries) => {
        const files = entries.map(({ path: names, target, type, mode, uid }): TarFile => {
          const name = text(names) === '' ? 'a' : text(names);
          const linkname = text(target) === '' ? '/' : text(target);
          const links = type === 'symlink' || type === 'link' ? { linkname } : {};
          const content = type === 'file' ? { content: 'x' } : {};
          return { name, type, mode, uid, ...links, ...content, ...NULL_DEVICE };
        });
        try {
          await unpack(...files);
        } catch (error) {
          assert.ok(isKind(error, 'invalid-argument'), String(error));
        }
        assert.deepEqual(describeTree(outside), untouched);
      }),
      { numRuns: 200 },
    );
  });

  it('leave nothing behind in the store', async () => {
    const rig = await ImageRig.open();
    try {
      const image = await makeImage({
        tags: ['t:1'],
        layers: [[{ name: 'good', content: 'x' }], [{ name: '../bad', content: 'x' }]],
      });
      await assert.rejects(
        rig.images.load(streamOf(await dockerArchive(image))),
        /leaves the layer with "\.\."/,
      );
      assert.equal(await rig.images.lookup('t:1'), undefined);
      assert.deepEqual(readdirSync(rig.path('staging')), []);
      const halves = readdirSync(rig.path('layers')).filter(
        (name) => !existsSync(rig.path('layers', name, 'layer.json')),
      );
      assert.deepEqual(halves, []);
    } finally {
      await rig.close();
    }
  });

  it('cannot steer overlayfs', async () => {
    const rig = await ImageRig.open();
    try {
      const steering = { 'SCHILY.xattr.trusted.overlay.opaque': 'y' };
      const image = await makeImage({
        tags: ['t:1'],
        layers: [
          [folder('d'), { name: 'd/f', content: 'lower' }],
          [{ ...folder('d'), pax: steering }],
        ],
      });
      await rig.images.load(streamOf(await dockerArchive(image)));
      await rig.snapshots.prepare('c1', (await rig.images.lookup('t:1'))?.chain ?? []);
      const { rootDir, lowerDirs } = await rig.snapshots.mount('c1');
      assert.equal(readFileSync(join(rootDir, 'd/f'), 'utf8'), 'lower');
      const attributes = pathCalls.xattrs(Buffer.from(join(lowerDirs[0] ?? '', 'd')));
      assert.deepEqual([...attributes.keys()], []);
    } finally {
      await rig.close();
    }
  });
});
