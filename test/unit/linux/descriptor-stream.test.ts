import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { DescriptorStream } from '../../../linux/descriptor-stream.js';
import type { KernelCall } from '../../../linux/protocol.js';
import type { WorkerClient } from '../../../linux/worker-client.js';

describe('DescriptorStream', () => {
  const open = (): number => openSync('/dev/null', 'r');
  const openFds = (): number => readdirSync('/proc/self/fd').length;

  for (const failing of ['sockets.duplicate', 'sockets.openCarrier'] as const) {
    it(`leaves no descriptor open when ${failing} fails`, async () => {
      const call = (name: KernelCall, fd: number): Promise<unknown> => {
        if (name === failing) return Promise.reject(new Error('too many open files'));
        if (name === 'sockets.duplicate') return Promise.resolve(open());
        assert.equal(name, 'sockets.close');
        return Promise.resolve(closeSync(fd));
      };
      const before = openFds();
      const kernel = { call: call as WorkerClient['call'] };
      const options = { isPackets: false, passesEnd: false };
      await assert.rejects(DescriptorStream.open(kernel, open(), options), /too many open files/);
      assert.equal(openFds(), before);
    });
  }
});
