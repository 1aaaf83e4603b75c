import assert from 'node:assert/strict';
import { lstatSync, symlinkSync, writeFileSync } from 'node:fs';
import { requiresRoot } from '../../support/requires.js';
import { type KernelRig, openRig } from './rig.js';

const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

describe('Files port', () => {
  let rig: KernelRig;
  before(async function () {
    requiresRoot(this);
    rig = await openRig();
  });
  after(() => rig.close());

  it('makes device nodes with exactly their mode and numbers, once', async () => {
    const cases = [
      { name: 'whiteout', mode: S_IFCHR, major: 0, minor: 0 },
      { name: 'null', mode: S_IFCHR | 0o666, major: 1, minor: 3 },
      { name: 'disk', mode: S_IFBLK | 0o7777, major: 259, minor: 65537 },
      { name: 'fifo', mode: S_IFIFO | 0o622, major: 0, minor: 0 },
    ];
    for (const { name, mode, major, minor } of cases) {
      const path = `${rig.folder}/${name}`;
      for (let i = 0; i < 2; i++) await rig.kernel.files.mknod(path, mode, major, minor);
      const there = lstatSync(path);
      assert.equal(there.mode, mode, name);
      const device = (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12);
      assert.equal(there.rdev, device, name);
    }
  });

  it('refuses to take another file for the node', async () => {
    const path = `${rig.folder}/plain`;
    writeFileSync(path, '');
    await assert.rejects(rig.kernel.files.mknod(path, S_IFCHR | 0o600, 1, 3), {
      kind: 'already-exists',
    });
    await assert.rejects(rig.kernel.files.mknod(`${rig.folder}/no/x`, S_IFCHR, 0, 0), {
      kind: 'not-found',
    });
  });

  it('sets and reads attributes, of a symbolic link itself', async () => {
    const path = `${rig.folder}/attributes`;
    writeFileSync(path, '');
    symlinkSync(path, `${path}-link`);
    const { files } = rig.kernel;
    const value = Uint8Array.from([0, 1, 255, 0]);
    await files.setXattr(path, 'trusted.overlay.opaque', value);
    await files.setXattr(`${path}-link`, 'trusted.empty', new Uint8Array());
    assert.deepEqual(await files.getXattr(path, 'trusted.overlay.opaque'), value);
    assert.deepEqual(await files.getXattr(`${path}-link`, 'trusted.empty'), new Uint8Array());
    assert.equal(await files.getXattr(path, 'trusted.empty'), undefined);
    await assert.rejects(files.getXattr('/ht-none', 'trusted.x'), { kind: 'not-found' });
    await assert.rejects(files.setXattr(path, 'trusted.', value), { kind: 'invalid-argument' });
  });

  it('waits for a file system to be on disk', async () => {
    writeFileSync(`${rig.folder}/data`, 'x');
    await rig.kernel.files.syncFilesystem(rig.folder);
    await assert.rejects(rig.kernel.files.syncFilesystem(`${rig.folder}/none`), {
      message: /file system of .*\/none to disk/,
    });
  });
});
