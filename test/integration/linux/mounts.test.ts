import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { openKernel } from '../../../linux/kernel.js';
import { mountOverlay } from '../../../linux/overlay.js';
import { overlayData } from '../../../linux/overlay-options.js';
import type { IdMap, OverlayMount } from '../../../linux/ports.js';
import { requiresRoot } from '../../support/requires.js';
import { describeMounts } from '../../unit/linux/mounts.suite.js';
import { type KernelRig, openRig } from './rig.js';

const throwIt = (error: Error): never => {
  throw error;
};

describe('the real kernel', () => {
  before(function () {
    requiresRoot(this);
  });
  describeMounts('real kernel', () => openKernel({ onFailure: throwIt }));
});

describe('Mounts port', () => {
  let rig: KernelRig;
  let folder: string;
  let number = 0;

  before(async function () {
    requiresRoot(this);
    rig = await openRig();
  });
  after(() => (rig as KernelRig | undefined)?.close());
  beforeEach(() => {
    folder = `${rig.folder}/mounts${number++}`;
    mkdirSync(folder);
  });
  afterEach(async () => {
    for (const target of (await rig.kernel.mounts.list(folder)).reverse()) {
      await rig.kernel.mounts.unmount(target);
    }
  });

  const make = (name: string): string => {
    mkdirSync(`${folder}/${name}`, { recursive: true });
    return `${folder}/${name}`;
  };
  function overlayOf(layers: number, prefix = 'lower'): OverlayMount {
    const lowerDirs = Array.from({ length: layers }, (_, i) => make(`${prefix}${i}`));
    for (const [i, dir] of lowerDirs.entries()) {
      writeFileSync(`${dir}/who`, `${i}`);
      writeFileSync(`${dir}/only${i}`, '');
    }
    return { lowerDirs, upperDir: make('up'), workDir: make('work'), target: make('merged') };
  }

  it('stacks layers, the first on top, and writes to the upper one', async () => {
    const mount = overlayOf(3);
    for (let i = 0; i < 2; i++) await rig.kernel.mounts.overlay(mount);
    assert.deepEqual(await rig.kernel.mounts.list(folder), [mount.target]);
    assert.equal(readFileSync(`${mount.target}/who`, 'utf8'), '0');
    assert.ok(existsSync(`${mount.target}/only2`));
    writeFileSync(`${mount.target}/new`, 'x');
    assert.equal(readFileSync(`${mount.upperDir}/new`, 'utf8'), 'x');
  });

  it('takes more layers than fit the options of mount(2)', async () => {
    const mount = overlayOf(
      100,
      `a-name-long-enough-that-the-paths-pass-one-page-${'x'.repeat(60)}`,
    );
    assert.ok(mount.lowerDirs.join(':').length > 2 * 4096);
    await rig.kernel.mounts.overlay(mount);
    assert.ok(existsSync(`${mount.target}/only99`));
  });

  it('takes hundreds of layers in the way of kernels before 6.8 too', () => {
    const mount = overlayOf(200, `layer-${'x'.repeat(64)}`);
    const here = readlinkSync('/proc/self/cwd');
    mountOverlay(mount, { oneByOne: false });
    assert.ok(existsSync(`${mount.target}/only199`));
    assert.equal(readFileSync(`${mount.target}/who`, 'utf8'), '0');
    writeFileSync(`${mount.target}/only199`, 'written');
    assert.equal(readFileSync(`${mount.upperDir}/only199`, 'utf8'), 'written');
    mountOverlay(mount, { oneByOne: false });
    assert.equal(readlinkSync('/proc/self/cwd'), here);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    );
  });

  for (const way of ['one by one', 'in one string']) {
    it(`shows the lower layers with shifted owners, named ${way}`, async () => {
      const uids = { firstId: 70_000, count: 1000 };
      const gids = { firstId: 80_000, count: 1000 };
      const mount = { ...overlayOf(120), idMap: { uids, gids } };
      const file = `${mount.lowerDirs[119]}/only119`;
      chownSync(file, 5, 6);
      if (way === 'one by one') await rig.kernel.mounts.overlay(mount);
      else {
        await withUserNamespace(mount.idMap, (usernsFd) => {
          mountOverlay(mount, { usernsFd, oneByOne: false });
        });
      }
      const seen = statSync(`${mount.target}/only119`);
      assert.deepEqual([seen.uid, seen.gid], [70_005, 80_006]);
      appendFileSync(`${mount.target}/only119`, 'x');
      const copied = statSync(`${mount.upperDir}/only119`);
      assert.deepEqual([copied.uid, copied.gid], [70_005, 80_006]);
      const below = statSync(file);
      assert.deepEqual([below.uid, below.gid, below.size], [5, 6, 0]);
      assert.deepEqual(await rig.kernel.mounts.list(folder), [mount.target]);
      const left = readdirSync(folder).filter((name) => name.startsWith('.'));
      assert.deepEqual(left, []);
    });
  }

  it('takes folders whose names hold the separators', async () => {
    const mount = { ...overlayOf(1, 'a:b,c\\d'), upperDir: make('u:p,p') };
    await rig.kernel.mounts.overlay(mount);
    assert.ok(existsSync(`${mount.target}/only0`));
    await rig.kernel.mounts.overlay(mount);
    assert.equal(overlayData(mount).includes('a\\:b\\,c\\\\d0'), true);
  });

  it('says which folder is missing', async () => {
    const mount = overlayOf(1);
    await assert.rejects(rig.kernel.mounts.overlay({ ...mount, lowerDirs: [`${folder}/none`] }), {
      kind: 'not-found',
      message: new RegExp(`${mount.target}.*${folder}/none.*ENOENT`),
    });
    await assert.rejects(rig.kernel.mounts.overlay({ ...mount, lowerDirs: [] }), {
      kind: 'invalid-argument',
    });
    assert.deepEqual(await rig.kernel.mounts.list(folder), []);
  });

  it('refuses to cover another mount', async () => {
    const mount = overlayOf(1);
    await rig.kernel.mounts.tmpfs(mount.target);
    await assert.rejects(rig.kernel.mounts.overlay(mount), { kind: 'already-exists' });
    const other = { ...mount, upperDir: make('other') };
    await rig.kernel.mounts.unmount(mount.target);
    await rig.kernel.mounts.overlay(mount);
    await assert.rejects(rig.kernel.mounts.overlay(other), { kind: 'already-exists' });
  });

  it('binds folders and files, read-only where asked, once', async () => {
    const [source, target] = [make('source'), make('target')];
    writeFileSync(`${source}/file`, 'x');
    writeFileSync(`${folder}/plain`, '');
    for (let i = 0; i < 2; i++) {
      await rig.kernel.mounts.bind(source, target, { readOnly: true });
      await rig.kernel.mounts.bind(`${source}/file`, `${folder}/plain`);
    }
    assert.deepEqual(await rig.kernel.mounts.list(folder), [`${folder}/plain`, target]);
    assert.throws(() => writeFileSync(`${target}/file`, 'y'), { code: 'EROFS' });
    writeFileSync(`${folder}/plain`, 'z');
    assert.equal(readFileSync(`${source}/file`, 'utf8'), 'z');
  });

  it('makes what is mounted below read-only too, if recursive', async () => {
    const [source, target] = [make('source'), make('target')];
    const inner = make('source/inner');
    await rig.kernel.mounts.tmpfs(inner);
    await rig.kernel.mounts.bind(source, target, { readOnly: true, recursive: true });
    assert.throws(() => writeFileSync(`${target}/inner/file`, ''), { code: 'EROFS' });
    writeFileSync(`${inner}/file`, '');
  });

  it('mounts a tmpfs of the size and mode asked for, once', async () => {
    const target = make('tmp');
    for (let i = 0; i < 2; i++) {
      await rig.kernel.mounts.tmpfs(target, { sizeBytes: 64 * 1024, mode: 0o700 });
    }
    const { type, blocks, bsize } = statfsSync(target);
    assert.deepEqual([type, blocks * bsize], [0x01021994, 64 * 1024]);
    assert.deepEqual(await rig.kernel.mounts.list(folder), [target]);
  });

  it('makes a folder a shared mount, once', async () => {
    const path = `${folder}/not/there/yet`;
    for (let i = 0; i < 2; i++) await rig.kernel.mounts.makeShared(path);
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const mine = lines.filter((line) => line.includes(` ${path} `));
    assert.equal(mine.length, 1);
    assert.match(mine[0] ?? '', / shared:\d+/);
  });

  it('unmounts what is in use, stacked or not mounted at all', async () => {
    const target = make('busy');
    await rig.kernel.mounts.tmpfs(target);
    await rig.kernel.mounts.bind(make('source'), target);
    for (let i = 0; i < 2; i++) await rig.kernel.mounts.unmount(target);
    await rig.kernel.mounts.unmount(`${folder}/never/was`);
    assert.deepEqual(await rig.kernel.mounts.list(folder), []);
  });

  it('lists mounts under a folder, not beside it, deepest last', async () => {
    const [a, b] = [make('list'), make('list-other')];
    await rig.kernel.mounts.tmpfs(b);
    await rig.kernel.mounts.tmpfs(a);
    mkdirSync(`${a}/with space`);
    await rig.kernel.mounts.tmpfs(`${a}/with space`);
    assert.deepEqual(await rig.kernel.mounts.list(a), [a, `${a}/with space`]);
  });
});

/** A user namespace of its own, as the engine of another way of making one would give it. */
async function withUserNamespace(
  { uids, gids }: IdMap,
  use: (usernsFd: number) => void,
): Promise<void> {
  const child = spawn('/usr/bin/unshare', ['--user', '--', 'cat'], { stdio: 'pipe' });
  try {
    child.stdin.write('x');
    await once(child.stdout, 'data');
    writeFileSync(`/proc/${child.pid}/uid_map`, `0 ${uids.firstId} ${uids.count}`);
    writeFileSync(`/proc/${child.pid}/gid_map`, `0 ${gids.firstId} ${gids.count}`);
    const fd = openSync(`/proc/${child.pid}/ns/user`, 'r');
    use(fd);
    closeSync(fd);
  } finally {
    child.stdin.end();
    await once(child, 'exit');
  }
}
