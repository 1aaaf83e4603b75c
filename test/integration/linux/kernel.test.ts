import assert from 'node:assert/strict';
import { openKernel } from '../../../linux/kernel.js';
import { requiresRoot } from '../../support/requires.js';

const throwIt = (error: Error): never => {
  throw error;
};

describe('the kernel seam', () => {
  before(function () {
    requiresRoot(this);
  });

  it('runs calls in the order made', async () => {
    await using kernel = await openKernel({ onFailure: throwIt });
    const path = `/tmp/ht-linux-order-${process.pid}`;
    const results = await Promise.all([
      kernel.namespaces.createNetns(path),
      kernel.namespaces.hasNetns(path),
      kernel.namespaces.dropNetns(path),
      kernel.namespaces.hasNetns(path),
    ]);
    assert.deepEqual(results, [undefined, true, undefined, false]);
  });

  it('refuses calls once it is closed, and lets go of running processes', async () => {
    const kernel = await openKernel({ onFailure: throwIt });
    const child = await kernel.spawner.spawn({ file: '/bin/sleep', args: ['30'], env: {} });
    await kernel[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
    await assert.rejects(child.exited, { kind: 'cancelled' });
    await assert.rejects(kernel.mounts.list('/'), { kind: 'unavailable' });
    process.kill(child.pid, 'SIGKILL');
  });
});
