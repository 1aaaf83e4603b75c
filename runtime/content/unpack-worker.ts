import { parentPort, type MessagePort } from 'node:worker_threads';
import { invariant } from '../../common/assert.js';
import { HatobaError, describeError, kindOf } from '../../common/errors.js';
import type { LayerFiles } from './layer-writer.js';
import { unpackLayer, type UnpackContext, type UnpackJob } from './unpack-layer.js';
import type { ErrorMessage, KernelCall, UnpackMessage, UnpackRequest } from './unpack-protocol.js';

/** The unpacking thread: takes one job after the other from its parent, the Unpacker. */
class UnpackThread {
  readonly #port: MessagePort;
  #cancelled = false;
  #kernelDone: ((error: ErrorMessage | undefined) => void) | undefined;

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
        return;
      case 'kernel-done':
        this.#kernelDone?.(request.error);
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
    const files: LayerFiles = {
      mknod: (...args) => this.#callKernel({ call: 'mknod', args }),
      setXattr: (...args) => this.#callKernel({ call: 'setXattr', args }),
    };
    return {
      files,
      onProgress: (blobBytes) => {
        this.#post({ type: 'progress', blobBytes });
      },
      throwIfCancelled: () => {
        if (this.#cancelled) throw new HatobaError('cancelled', 'unpacking was cancelled');
      },
    };
  }

  async #callKernel(call: KernelCall): Promise<void> {
    const error = await new Promise<ErrorMessage | undefined>((resolve) => {
      this.#kernelDone = resolve;
      this.#post({ type: 'kernel', call });
    });
    if (error !== undefined) throw new HatobaError(error.kind, error.message);
  }

  #post(message: UnpackMessage): void {
    this.#port.postMessage(message);
  }
}

invariant(parentPort, 'this file runs in a worker thread only');
new UnpackThread(parentPort);
