import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Snapshot } from '../../../runtime/snapshot/snapshotter.js';
import {
  dockerArchive,
  folder,
  makeImage,
  streamOf,
  type TarFile,
} from '../../support/image-fixtures.js';
import { ImageRig } from '../../support/image-rig.js';
import { requiresRoot } from '../../support/requires.js';

describe('layers and snapshots on the real kernel', () => {
  let rig: ImageRig;

  before(function () {
    requiresRoot(this);
  });

  beforeEach(async () => {
    rig = await ImageRig.open();
  });

  afterEach(async () => {
    await rig.close();
  });

  /** The mounted root of a container from an image of these layers. */
  async function mounted(id: string, ...layers: TarFile[][]): Promise<Snapshot> {
    const image = await makeImage({ tags: ['t:1'], layers });
    await rig.images.load(streamOf(await dockerArchive(image)));
    await rig.snapshots.prepare(id, (await rig.images.lookup('t:1'))?.chain ?? []);
    return await rig.snapshots.mount(id);
  }

  it('hides what an upper layer deletes, by name and by opaque directory', async () => {
    const { rootDir } = await mounted(
      'c1',
      [
        folder('a'),
        { name: 'a/keep', content: 'k' },
        { name: 'a/gone', content: 'g' },
        folder('b'),
        { name: 'b/old', content: 'o' },
        folder('c'),
        { name: 'c/old', content: 'o' },
      ],
      [
        { name: 'a/.wh.gone' },
        folder('b'),
        { name: 'b/.wh..wh..opq' },
        { name: 'b/new', content: 'n' },
        { name: '.wh.c' },
        folder('c'),
        { name: 'c/new', content: 'n' },
      ],
    );
    assert.deepEqual(readdirSync(join(rootDir, 'a')), ['keep']);
    assert.deepEqual(readdirSync(join(rootDir, 'b')), ['new']);
    assert.deepEqual(readdirSync(join(rootDir, 'c')), ['new'], 'deleted and made again is new');
  });

  it('keeps owners, modes, times, links, devices and attributes', async () => {
    const { rootDir } = await mounted('c1', [
      { ...folder('d', 0o2750), uid: 7, gid: 8 },
      { name: 'd/file', content: 'x', mode: 0o4755, uid: 1000, gid: 1001 },
      { name: 'd/hard', type: 'link', linkname: 'd/file' },
      { name: 'd/soft', type: 'symlink', linkname: '/nowhere', uid: 5, gid: 6 },
      { name: 'd/null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
      { name: 'd/pipe', type: 'fifo', mode: 0o640 },
      {
        name: 'd/ping',
        mode: 0o755,
        content: 'p',
        // cap_net_raw=ep, as setcap writes it
        pax: { 'SCHILY.xattr.security.capability': '\x01\0\0\x02\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0' },
      },
    ]);
    const d = statSync(join(rootDir, 'd'));
    assert.deepEqual([d.mode & 0o7777, d.uid, d.gid], [0o2750, 7, 8]);
    assert.equal(d.mtimeMs, 1_700_000_000_000);
    const file = statSync(join(rootDir, 'd/file'));
    assert.deepEqual([file.mode & 0o7777, file.uid, file.gid], [0o4755, 1000, 1001]);
    assert.equal(file.mtimeMs, 1_700_000_000_000);
    assert.equal(statSync(join(rootDir, 'd/hard')).ino, file.ino);
    const soft = lstatSync(join(rootDir, 'd/soft'));
    assert.deepEqual([readlinkSync(join(rootDir, 'd/soft')), soft.uid], ['/nowhere', 5]);
    const device = lstatSync(join(rootDir, 'd/null'));
    assert.ok(device.isCharacterDevice());
    assert.deepEqual([device.rdev, device.mode & 0o777], [(1 << 8) | 3, 0o666]);
    assert.ok(lstatSync(join(rootDir, 'd/pipe')).isFIFO());
    const ping = await rig.kernel.files.getXattr(join(rootDir, 'd/ping'), 'security.capability');
    assert.equal(ping?.length, 20);
  });

  it('lets containers share lower layers and write apart', async () => {
    const one = await mounted('c1', [{ name: 'f', content: 'image' }]);
    const chain = (await rig.images.lookup('t:1'))?.chain ?? [];
    const two = await rig.snapshots.prepare('c2', chain);
    await rig.snapshots.mount('c2');
    assert.deepEqual(two.lowerDirs, one.lowerDirs);
    writeFileSync(join(one.rootDir, 'f'), 'mine');
    assert.equal(readFileSync(join(two.rootDir, 'f'), 'utf8'), 'image');
    assert.equal(readFileSync(join(one.lowerDirs[0] ?? '', 'f'), 'utf8'), 'image');
    assert.equal(readFileSync(join(one.upperDir, 'f'), 'utf8'), 'mine');
    assert.deepEqual(await rig.snapshots.list(), ['c1', 'c2']);
    await rig.snapshots.remove('c1');
    assert.deepEqual(await rig.snapshots.list(), ['c2']);
    assert.ok(!existsSync(one.upperDir));
  });

  it('keeps what was written over unmount and a restart', async () => {
    const { rootDir } = await mounted('c1', [{ name: 'f', content: 'image' }]);
    writeFileSync(join(rootDir, 'log'), 'kept');
    await rig.snapshots.unmount('c1');
    assert.deepEqual(readdirSync(rootDir), []);
    await rig.reopen();
    await rig.snapshots.mount('c1');
    assert.equal(readFileSync(join(rootDir, 'log'), 'utf8'), 'kept');
    assert.equal(statSync(rootDir).mode & 0o7777, 0o755, 'the mode of / in the container');
  });

  it('stacks an image that has one layer twice', async () => {
    const layer: TarFile[] = [{ name: 'f', content: '1' }];
    const { rootDir, lowerDirs } = await mounted('c1', layer, [{ name: '.wh.f' }], layer);
    assert.equal(lowerDirs.length, 2);
    assert.equal(readFileSync(join(rootDir, 'f'), 'utf8'), '1');
  });

  it('mounts an image without layers, and one of a hundred', async () => {
    const empty = await mounted('c1');
    assert.deepEqual(readdirSync(empty.rootDir), []);
    const many = Array.from({ length: 100 }, (_, i) => [{ name: `f${i}`, content: 'x' }]);
    const { rootDir } = await mounted('c2', ...many);
    assert.equal(readdirSync(rootDir).length, 100);
  });

  it('says what is wrong with a snapshot', async () => {
    const { rootDir } = await mounted('c1', [{ name: 'f', content: 'x' }]);
    const chain = (await rig.images.lookup('t:1'))?.chain ?? [];
    await assert.rejects(rig.snapshots.prepare('c1', chain), /container c1 has a snapshot already/);
    await assert.rejects(rig.snapshots.mount('c9'), /container c9 has no snapshot/);
    await assert.rejects(rig.snapshots.prepare('../x', chain), /not a container id/);
    await rig.snapshots.unmount('c9');
    await rig.snapshots.remove('c9');
    rmSync(rig.path('layers', chain[0] ?? ''), { recursive: true });
    await assert.rejects(
      rig.snapshots.prepare('c3', chain),
      /container c3: layer \w+ is not unpacked/,
    );
    assert.deepEqual(await rig.snapshots.list(), ['c1']);
    assert.ok(existsSync(rootDir));
  });

  describe('hostile tars', () => {
    let outside: string;

    beforeEach(() => {
      outside = mkdtempSync(join(tmpdir(), 'ht-outside-'));
      writeFileSync(join(outside, 'victim'), 'untouched');
      mkdirSync(join(outside, 'dir'));
    });

    afterEach(() => {
      assert.deepEqual(readdirSync(outside).sort(), ['dir', 'victim']);
      assert.deepEqual(readdirSync(join(outside, 'dir')), []);
      assert.equal(readFileSync(join(outside, 'victim'), 'utf8'), 'untouched');
      assert.deepEqual(statSync(outside).mode & 0o7777, 0o700);
      rmSync(outside, { recursive: true });
    });

    const refused: { name: string; layer: () => TarFile[]; message: RegExp }[] = [
      {
        name: 'a name with ..',
        layer: () => [{ name: `../../../..${outside}/dir/x`, content: 'x' }],
        message: /leaves the layer with "\.\."/,
      },
      {
        name: 'a hard link out of the layer',
        layer: () => [{ name: 'l', type: 'link', linkname: `${outside}/victim` }],
        message: /hard link to ".*", which the layer does not have/,
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
        name: 'a whiteout of the parent',
        layer: () => [folder('a'), { name: 'a/.wh...' }],
        message: /deletes no file by name/,
      },
    ];
    for (const { name, layer, message } of refused) {
      it(`refuses ${name}`, async () => {
        await assert.rejects(mounted('c1', layer()), message);
        assert.deepEqual(readdirSync(rig.path('layers')), []);
        assert.deepEqual(readdirSync(rig.path('staging')), []);
      });
    }

    it('resolves symbolic links in parents inside the layer', async () => {
      const { rootDir } = await mounted('c1', [
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
        { name: '/abs', content: 'a' },
      ]);
      assert.equal(readFileSync(join(rootDir, outside, 'dir/x'), 'utf8'), 'x');
      assert.equal(readFileSync(join(rootDir, outside, 'dir/y'), 'utf8'), 'y');
      assert.equal(readFileSync(join(rootDir, 'victim'), 'utf8'), 'written over');
      assert.equal(readFileSync(join(rootDir, 'abs'), 'utf8'), 'a');
      assert.ok(lstatSync(join(rootDir, 'perm')).isDirectory());
    });

    it('ignores attributes that would steer overlayfs', async () => {
      const { rootDir, lowerDirs } = await mounted(
        'c1',
        [folder('d'), { name: 'd/f', content: 'lower' }],
        [{ ...folder('d'), pax: { 'SCHILY.xattr.trusted.overlay.opaque': 'y' } }],
      );
      assert.equal(readFileSync(join(rootDir, 'd/f'), 'utf8'), 'lower');
      const opaque = 'trusted.overlay.opaque';
      assert.equal(
        await rig.kernel.files.getXattr(join(lowerDirs[0] ?? '', 'd'), opaque),
        undefined,
      );
    });
  });
});
