import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { pathCalls } from '../../linux/path-calls.js';
import type { IdMap } from '../../linux/ports.js';
import type { LayerId } from '../../runtime/core/layer-chain.js';
import type { Snapshotter } from '../../runtime/snapshot/snapshotter.js';
import { describeTree } from '../support/file-tree.js';
import {
  dockerArchive,
  folder,
  makeImage,
  streamOf,
  type TarFile,
} from '../support/image-fixtures.js';
import { ImageRig } from '../support/image-rig.js';
import { requiresRoot } from '../support/requires.js';

const ID_MAP: IdMap = {
  uids: { firstId: 200_000, count: 65_536 },
  gids: { firstId: 300_000, count: 65_536 },
};
/** cap_net_raw=ep, as setcap writes it. */
const CAPABILITY = '\x01\0\0\x02\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0';

/** What every Snapshotter must do, on the real kernel with real layers. */
export function describeSnapshotter(name: Snapshotter['name']): void {
  describe(`Snapshotter: ${name}`, () => {
    let rig: ImageRig;
    let images = 0;

    before(function () {
      requiresRoot(this);
    });
    beforeEach(async () => {
      rig = await ImageRig.open({ snapshotter: name });
    });
    afterEach(async () => {
      await rig.close();
    });
    after(() => {
      images = 0;
    });

    /** The chain of an image of these layers, unpacked. */
    async function chainOf(...layers: (readonly TarFile[])[]): Promise<readonly LayerId[]> {
      const tag = `t:${++images}`;
      const image = await makeImage({ tags: [tag], layers });
      await rig.images.load(streamOf(await dockerArchive(image)));
      return (await rig.images.lookup(tag))?.chain ?? [];
    }

    /** The mounted root of a container from an image of these layers. */
    async function mounted(id: string, ...layers: (readonly TarFile[])[]): Promise<string> {
      await rig.snapshots.prepare(id, await chainOf(...layers));
      return (await rig.snapshots.mount(id)).rootDir;
    }

    const ownerOf = (path: string): string => {
      const { uid, gid } = lstatSync(path);
      return `${uid}:${gid}`;
    };

    it('keeps all that a layer says of its files', async () => {
      const root = await mounted('c1', [
        { ...folder('d', 0o2750), uid: 7, gid: 8 },
        { name: 'd/file', content: 'x', mode: 0o4755, uid: 1000, gid: 1001 },
        { name: 'd/hard', type: 'link', linkname: 'd/file' },
        { name: 'd/soft', type: 'symlink', linkname: '/nowhere', uid: 5, gid: 6 },
        { name: 'd/null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
        { name: 'd/disk', type: 'block-device', devmajor: 259, devminor: 65_537, mode: 0o600 },
        { name: 'd/pipe', type: 'fifo', mode: 0o622 },
        { name: 'big', content: Buffer.alloc(1024 * 1024) },
        { name: 'd/ping', content: 'p', pax: { 'SCHILY.xattr.security.capability': CAPABILITY } },
        { name: 'd/noted', content: 'n', pax: { 'SCHILY.xattr.user.note': 'yes' } },
      ]);
      const layer = (await rig.snapshots.mount('c1')).lowerDirs.at(-1) ?? '';
      assert.deepEqual(describeTree(join(root, 'd')), describeTree(join(layer, 'd')));
      assert.equal(statSync(join(root, 'd/hard')).ino, statSync(join(root, 'd/file')).ino);
      assert.equal(lstatSync(join(root, 'd/disk')).rdev, lstatSync(join(layer, 'd/disk')).rdev);
      assert.equal(readlinkSync(join(root, 'd/soft')), '/nowhere');
      assert.equal(statSync(join(root, 'big')).size, 1024 * 1024);
      assert.ok(statSync(join(root, 'big')).blocks <= 128, 'zeros take hardly any space');
      const root_ = statSync(root);
      assert.deepEqual([root_.mode & 0o7777, root_.uid, root_.gid], [0o755, 0, 0]);
    });

    it('shows what the uppermost layer says', async () => {
      const root = await mounted(
        'c1',
        [
          folder('a'),
          { name: 'a/keep', content: 'k' },
          { name: 'a/gone', content: 'g' },
          { name: 'a/over', content: 'old', mode: 0o600 },
          folder('b'),
          { name: 'b/old', content: 'o' },
          folder('c'),
          { name: 'c/old', content: 'o' },
          folder('was-folder'),
          { name: 'was-folder/f', content: 'o' },
          { name: 'was-file', content: 'o' },
          { ...folder('changed', 0o700), uid: 5 },
          { name: 'changed/f', content: 'c' },
        ],
        [
          { name: 'a/.wh.gone' },
          { name: 'a/over', content: 'new', mode: 0o640 },
          folder('b'),
          { name: 'b/.wh..wh..opq' },
          { name: 'b/new', content: 'n' },
          { name: '.wh.c' },
          folder('c'),
          { name: 'c/new', content: 'n' },
          { name: 'was-folder', content: 'a file' },
          folder('was-file'),
          { ...folder('changed', 0o711), uid: 6 },
        ],
        [{ name: '.wh.was-file' }],
      );
      const names = (path: string): string[] => readdirSync(join(root, path)).sort();
      assert.deepEqual(names('.'), ['a', 'b', 'c', 'changed', 'was-folder']);
      assert.deepEqual(names('a'), ['keep', 'over']);
      assert.deepEqual(names('b'), ['new']);
      assert.deepEqual(names('c'), ['new'], 'deleted and made again is new');
      assert.deepEqual(names('changed'), ['f']);
      assert.equal(readFileSync(join(root, 'a/over'), 'utf8'), 'new');
      assert.equal(statSync(join(root, 'a/over')).mode & 0o777, 0o640);
      assert.equal(readFileSync(join(root, 'was-folder'), 'utf8'), 'a file');
      const changed = statSync(join(root, 'changed'));
      assert.deepEqual([changed.mode & 0o7777, changed.uid], [0o711, 6]);
    });

    it('leaves a directory as it was when an upper layer only has files in it', async () => {
      const chain = await chainOf(
        [
          { ...folder('home'), mtime: new Date(1_500_000_000_000) },
          { ...folder('home/web', 0o2700), uid: 33, gid: 34, mtime: new Date(1_400_000_000_000) },
          folder('gone', 0o700),
        ],
        [{ name: '.wh.gone' }],
        [
          { name: 'home/web/index.html', content: 'hello' },
          { name: 'gone/new', content: 'x' },
          { name: 'only/here', content: 'x' },
        ],
        [{ name: 'home/web/more.html', content: 'more' }],
      );
      await rig.snapshots.prepare('c1', chain);
      await rig.snapshots.prepare('c2', chain);
      const look = (root: string, path: string): unknown[] => {
        const { mode, uid, gid, mtimeMs } = statSync(join(root, path));
        return [mode & 0o7777, uid, gid, mtimeMs];
      };
      const check = async (id: string): Promise<void> => {
        const root = (await rig.snapshots.mount(id)).rootDir;
        assert.deepEqual(look(root, 'home/web'), [0o2700, 33, 34, 1_400_000_000_000]);
        assert.deepEqual(look(root, 'home'), [0o755, 0, 0, 1_500_000_000_000]);
        assert.deepEqual(look(root, 'gone').slice(0, 3), [0o755, 0, 0]);
        assert.deepEqual(look(root, 'only').slice(0, 3), [0o755, 0, 0]);
        assert.deepEqual(readdirSync(join(root, 'home/web')), ['index.html', 'more.html']);
      };
      await check('c1');
      await rig.snapshots.unmount('c1');
      await rig.reopen();
      await check('c1');
      await check('c2');
    });

    it('lets containers write apart, and never into the layers', async () => {
      const one = await mounted('c1', [
        folder('d'),
        { name: 'd/f', content: 'image' },
        { name: 'd/hard', type: 'link', linkname: 'd/f' },
      ]);
      const layer = (await rig.snapshots.mount('c1')).lowerDirs.at(-1) ?? '';
      const before = describeTree(layer);
      const chain = (await rig.images.lookup(`t:${images}`))?.chain ?? [];
      await rig.snapshots.prepare('c2', chain);
      const two = (await rig.snapshots.mount('c2')).rootDir;
      appendFileSync(join(one, 'd/f'), ' and mine');
      chmodSync(join(one, 'd'), 0o700);
      rmSync(join(two, 'd/f'));
      renameSync(join(two, 'd/hard'), join(two, 'moved'));
      assert.equal(readFileSync(join(one, 'd/f'), 'utf8'), 'image and mine');
      assert.deepEqual(readdirSync(join(two, 'd')), []);
      assert.equal(readFileSync(join(two, 'moved'), 'utf8'), 'image');
      assert.deepEqual(describeTree(layer), before);
      assert.deepEqual(await rig.snapshots.list(), ['c1', 'c2']);
    });

    it('keeps what was written over unmount and a restart, until it is removed', async () => {
      const root = await mounted('c1', [{ name: 'f', content: 'image' }]);
      writeFileSync(join(root, 'log'), 'kept');
      rmSync(join(root, 'f'));
      await rig.snapshots.unmount('c1');
      await rig.snapshots.unmount('c1');
      await rig.reopen();
      assert.deepEqual(await rig.snapshots.list(), ['c1']);
      assert.equal((await rig.snapshots.mount('c1')).rootDir, root);
      assert.deepEqual(readdirSync(root), ['log']);
      await rig.snapshots.remove('c1');
      await rig.snapshots.remove('c1');
      assert.deepEqual(await rig.snapshots.list(), []);
      assert.ok(!existsSync(rig.path('snapshots/c1')));
      await assert.rejects(rig.snapshots.mount('c1'), { kind: 'not-found' });
    });

    it('takes no layers, one layer twice, and 130', async () => {
      assert.deepEqual(readdirSync(await mounted('none')), []);
      const layer: TarFile[] = [{ name: 'f', content: '1' }];
      const twice = await mounted('twice', layer, [{ name: '.wh.f' }], layer);
      assert.equal(readFileSync(join(twice, 'f'), 'utf8'), '1');
      const many = await mounted(
        'many',
        ...Array.from({ length: 130 }, (_, i) => [
          { name: `f${i}`, content: `${i}` },
          { name: 'top', content: `${i}` },
          ...(i === 60 ? [{ name: '.wh.f3' }] : []),
        ]),
      );
      assert.equal(readdirSync(many).length, 130);
      assert.equal(readFileSync(join(many, 'f0'), 'utf8'), '0', 'from the bottom');
      assert.equal(readFileSync(join(many, 'top'), 'utf8'), '129');
      appendFileSync(join(many, 'f0'), ' written');
      rmSync(join(many, 'f1'));
      assert.equal(readFileSync(join(many, 'f0'), 'utf8'), '0 written');
      assert.ok(!existsSync(join(many, 'f1')) && !existsSync(join(many, 'f3')));
    });

    it('shifts owners for users of their own, and nobody sees it elsewhere', async () => {
      const chain = await chainOf(
        [
          folder('etc'),
          { name: 'etc/passwd', content: 'root' },
          { name: 'data', content: 'd', uid: 33, gid: 34 },
          { name: 'far', content: 'f', uid: 70_000 },
          { name: 'ping', content: 'p', pax: { 'SCHILY.xattr.security.capability': CAPABILITY } },
          { ...folder('home/web', 0o700), uid: 33 },
        ],
        [{ name: 'home/web/f', content: 'x' }],
      );
      await rig.snapshots.prepare('mine', chain, { idMap: ID_MAP });
      await rig.snapshots.prepare('plain', chain);
      const check = async (): Promise<void> => {
        const { rootDir } = await rig.snapshots.mount('mine');
        assert.equal(ownerOf(rootDir), '200000:300000');
        assert.equal(ownerOf(join(rootDir, 'etc/passwd')), '200000:300000');
        assert.equal(ownerOf(join(rootDir, 'data')), '200033:300034');
        assert.equal(ownerOf(join(rootDir, 'home/web')), '200033:300000');
        const far = lstatSync(join(rootDir, 'far')).uid;
        assert.ok(far === 65_534 || far === 265_534, `nobody, and not ${far}`);
        const capability = pathCalls.xattrs(Buffer.from(join(rootDir, 'ping')));
        const value = Buffer.from(capability.get('security.capability') ?? []);
        assert.deepEqual([value[3], value.readUInt32LE(20)], [3, 200_000]);
        writeFileSync(join(rootDir, 'data'), 'changed');
        assert.equal(ownerOf(join(rootDir, 'data')), '200033:300034');
      };
      await check();
      await rig.snapshots.unmount('mine');
      await rig.reopen();
      await check();
      const plain = (await rig.snapshots.mount('plain')).rootDir;
      assert.equal(ownerOf(join(plain, 'data')), '33:34');
      assert.equal(readFileSync(join(plain, 'data'), 'utf8'), 'd');
    });

    it('removes what a crash left of a prepare or a remove', async () => {
      const chain = await chainOf([{ name: 'f', content: 'x' }]);
      await rig.snapshots.prepare('c1', chain);
      for (const half of ['.staged-1/upper/deep', '.staged-7/rootfs']) {
        mkdirSync(rig.path('snapshots', half), { recursive: true });
      }
      await rig.reopen();
      const left = readdirSync(rig.path('snapshots')).filter((n) => n.startsWith('.staged'));
      assert.deepEqual(left, []);
      assert.deepEqual(await rig.snapshots.list(), ['c1']);
      await rig.snapshots.prepare('c2', chain);
    });

    it('says what is wrong', async () => {
      const chain = await chainOf([{ name: 'f', content: 'x' }]);
      await rig.snapshots.prepare('c1', chain);
      await assert.rejects(rig.snapshots.prepare('c1', chain), { kind: 'already-exists' });
      await assert.rejects(rig.snapshots.mount('c9'), /container c9 has no snapshot/);
      await assert.rejects(rig.snapshots.prepare('../x', chain), { kind: 'invalid-argument' });
      await rig.snapshots.unmount('c9');
      const both = [rig.snapshots.prepare('c5', chain), rig.snapshots.prepare('c5', chain)];
      const results = await Promise.allSettled(both);
      assert.deepEqual(results.map((r) => r.status).sort(), ['fulfilled', 'rejected']);
      rmSync(rig.path('layers', chain[0] ?? ''), { recursive: true });
      await assert.rejects(rig.snapshots.prepare('c3', chain), {
        kind: 'failed-precondition',
        message: /container c3: layer \w+ is not unpacked/,
      });
      assert.deepEqual(await rig.snapshots.list(), ['c1', 'c5']);
    });
  });
}
