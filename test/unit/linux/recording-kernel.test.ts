import assert from 'node:assert/strict';
import { closeSync, readFileSync } from 'node:fs';
import { HatobaError } from '../../../common/errors.js';
import { RecordingKernel } from '../../support/recording-kernel.js';
import { describeMounts } from './mounts.suite.js';
import { describeNetlink } from './netlink.suite.js';

describeNetlink('in memory', () => {
  const kernel = new RecordingKernel();
  return Promise.resolve({
    kernel,
    host: '/run/ht/host',
    container: '/run/ht/container',
    close: () => kernel[Symbol.asyncDispose](),
  });
});

describeMounts('in memory', () => Promise.resolve(new RecordingKernel()));

describe('RecordingKernel', () => {
  it('keeps calls in order, with their arguments', async () => {
    const kernel = new RecordingKernel();
    await kernel.mounts.tmpfs('/x', { sizeBytes: 1 });
    await kernel.mounts.unmount('/x');
    assert.deepEqual(kernel.calls, [
      { call: 'mounts.tmpfs', args: ['/x', { sizeBytes: 1 }] },
      { call: 'mounts.unmount', args: ['/x'] },
    ]);
    assert.deepEqual(kernel.mountTable, []);
  });

  it('fails the call that a test wants to fail, once', async () => {
    const kernel = new RecordingKernel();
    kernel.failNext('mounts.bind', new HatobaError('resource-exhausted', 'no space'));
    await assert.rejects(kernel.mounts.bind('/a', '/b'), /no space/);
    await kernel.mounts.bind('/a', '/b');
    assert.deepEqual(await kernel.mounts.list('/b'), ['/b']);
  });

  it('gives the output and exit code of a scripted process', async () => {
    const kernel = new RecordingKernel();
    kernel.onSpawn = ({ args }) => ({ exitCode: 3, output: { 1: `ran ${args.join(' ')}` } });
    const child = await kernel.spawner.spawn({
      file: '/bin/x',
      args: ['a', 'b'],
      env: {},
      fds: [{ fd: 1, pipe: 'write' }],
    });
    const fd = child.pipes.get(1) ?? -1;
    assert.equal(readFileSync(fd, 'utf8'), 'ran a b');
    closeSync(fd);
    assert.equal(await child.exited, 3);
    assert.equal(kernel.spawned[0]?.file, '/bin/x');
  });
});
