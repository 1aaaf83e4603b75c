import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import type { Kernel } from '../../../linux/ports.js';

/** What every Kernel's Mounts must do, the one in memory too; the folders are real for both. */
export function describeMounts(name: string, open: () => Promise<Kernel>): void {
  describe(`Mounts port: ${name}`, () => {
    let kernel: Kernel;
    let folder: string;
    before(async () => {
      kernel = await open();
    });
    after(() => kernel[Symbol.asyncDispose]());
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'ht-mounts-'));
      for (const dir of ['lower', 'up', 'work', 'up2', 'target/inner']) {
        mkdirSync(join(folder, dir), { recursive: true });
      }
    });
    afterEach(async () => {
      for (const target of (await kernel.mounts.list(folder)).reverse()) {
        await kernel.mounts.unmount(target);
      }
      rmSync(folder, { recursive: true });
    });
    const overlay = (upper: string): Promise<void> =>
      kernel.mounts.overlay({
        lowerDirs: [join(folder, 'lower')],
        upperDir: join(folder, upper),
        workDir: join(folder, 'work'),
        target: join(folder, 'target'),
      });

    it('takes a mount that is there already for done', async () => {
      const target = join(folder, 'target');
      for (let i = 0; i < 2; i++) await overlay('up');
      assert.deepEqual(await kernel.mounts.list(folder), [target]);
      for (let i = 0; i < 2; i++) await kernel.mounts.unmount(target);
      for (let i = 0; i < 2; i++) await kernel.mounts.tmpfs(target, { sizeBytes: 4096 });
      assert.deepEqual(await kernel.mounts.list(folder), [target]);
      await kernel.mounts.unmount(target);
      for (let i = 0; i < 2; i++) await kernel.mounts.bind(join(folder, 'up'), target);
      for (let i = 0; i < 2; i++) await kernel.mounts.makeShared(target);
      assert.deepEqual(await kernel.mounts.list(folder), [target]);
    });

    it('refuses an overlay or a tmpfs over another mount', async () => {
      await overlay('up');
      await assert.rejects(overlay('up2'), { kind: 'already-exists' });
      await assert.rejects(kernel.mounts.tmpfs(join(folder, 'target')), { kind: 'already-exists' });
    });

    it('lets a bind mount cover another, and takes all of them away at once', async () => {
      const target = join(folder, 'target');
      await kernel.mounts.tmpfs(target);
      await kernel.mounts.bind(join(folder, 'up'), target);
      assert.deepEqual(await kernel.mounts.list(folder), [target]);
      await kernel.mounts.unmount(target);
      assert.deepEqual(await kernel.mounts.list(folder), []);
    });

    it('lists what is mounted under a folder, deepest last', async () => {
      const inner = join(folder, 'target/inner');
      await kernel.mounts.tmpfs(inner);
      await kernel.mounts.tmpfs(join(folder, 'up'));
      const all = [join(folder, 'up'), inner];
      assert.deepEqual(await kernel.mounts.list(folder), all);
      assert.deepEqual(await kernel.mounts.list(join(folder, 'target')), [inner]);
      assert.deepEqual(await kernel.mounts.list(join(folder, 'tar')), []);
    });
  });
}
