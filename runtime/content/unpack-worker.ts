import { parentPort, type MessagePort } from 'node:worker_threads';
import { invariant } from '../../common/assert.js';
import { HatobaError, describeError, kindOf } from '../../common/errors.js';
import { pathCalls } from '../../linux/path-calls.js';
import { unpackLayer, type UnpackContext, type UnpackJob } from './unpack-layer.js';
import type { UnpackMessage, UnpackRequest } from './unpack-protocol.js';

/** The unpacking thread: takes one job after the other from its parent, the Unpacker. */
class UnpackThread {
  readonly #port: MessagePort;
  #cancelled = false;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (request: UnpackRequest) => {
      this.#receive(request);
    });
  }

  #receive(request: UnpackRequest): void {
    switch (request.type) {
      case 'unpack':
        void this.#run(request.job); // answers success and failure itself
        return;
      case 'cancel':
        this.#cancelled = true;
    }
  }

  async #run(job: UnpackJob): Promise<void> {
    this.#cancelled = false;
    try {
      this.#post({ type: 'done', result: await unpackLayer(job, this.#context()) });
    } catch (error) {
      const told = { kind: kindOf(error), message: describeError(error) };
      this.#post({ type: 'failed', error: told });
    }
  }

  #context(): UnpackContext {
    return {
      files: pathCalls,
      onProgress: (blobBytes) => {
        this.#post({ type: 'progress', blobBytes });
      },
      throwIfCancelled: () => {
        if (this.#cancelled) throw new HatobaError('cancelled', 'unpacking was cancelled');
      },
    };
  }

  #post(message: UnpackMessage): void {
    this.#port.postMessage(message);
  }
}

invariant(parentPort, 'this file runs in a worker thread only');
new UnpackThread(parentPort);
