import { Worker } from 'node:worker_threads';
import type { Clock } from '../../common/clock.js';
import { HatobaError, describeError } from '../../common/errors.js';
import { workerEntry } from '../../common/worker-entry.js';
import { Limiter } from './limiter.js';
import type { UnpackJob, UnpackResult } from './unpack-layer.js';
import type { UnpackMessage, UnpackRequest } from './unpack-protocol.js';

interface Running {
  readonly resolve: (result: UnpackResult) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: (blobBytes: number) => void;
}

/** A thread costs some ten megabytes: it ends when nothing was unpacked for this long. */
const IDLE_MS = 5000;

/**
 * Unpacks layers in a worker thread, so that the event loop never waits for a tar.
 * 1. One job runs at a time; others wait in order. Two at once gain nothing: the disk is one.
 * 2. The thread starts with the first job and ends when idle; if it dies, its job fails and the
 *    next job gets a new one.
 */
export class Unpacker implements AsyncDisposable {
  readonly #clock: Clock;
  #worker: Worker | undefined;
  #running: Running | undefined;
  readonly #turns = new Limiter(1);
  #current: Promise<unknown> | undefined;
  #cancelIdle: () => void = () => undefined;
  #closed = false;

  constructor(modules: { clock: Clock }) {
    this.#clock = modules.clock;
  }

  /** @throws {HatobaError} as unpackLayer; the target is then left for the caller to delete */
  unpack(
    job: UnpackJob,
    options: { signal?: AbortSignal; onProgress?: (blobBytes: number) => void } = {},
  ): Promise<UnpackResult> {
    return this.#turns.run(() => {
      const work = this.#run(job, options);
      this.#current = work.catch(() => undefined); // its caller is told
      return work;
    }, options.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#post({ type: 'cancel' });
    await this.#current;
    this.#cancelIdle();
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async #run(
    job: UnpackJob,
    { signal, onProgress = () => undefined }: Parameters<Unpacker['unpack']>[1] & object,
  ): Promise<UnpackResult> {
    signal?.throwIfAborted();
    if (this.#closed) throw new HatobaError('cancelled', 'the image store is closing');
    this.#cancelIdle();
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const onAbort = (): void => {
      this.#post({ type: 'cancel' });
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<UnpackResult>((resolve, reject) => {
        this.#running = { resolve, reject, onProgress };
        this.#post({ type: 'unpack', job });
      });
    } finally {
      this.#running = undefined;
      signal?.removeEventListener('abort', onAbort);
      worker.unref();
      this.#cancelIdle = this.#clock.setTimer(IDLE_MS, () => {
        this.#end(worker);
      });
    }
  }

  #start(): Worker {
    const worker = new Worker(...workerEntry('./unpack-worker', import.meta.url));
    worker.on('message', (message: UnpackMessage) => {
      this.#receive(message);
    });
    const onDeath = (why: string): void => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#running?.reject(new HatobaError('internal', `the unpacking thread ended: ${why}`));
    };
    worker.on('error', (error) => {
      onDeath(describeError(error));
    });
    worker.on('exit', (code) => {
      if (this.#worker === worker) onDeath(`code ${code}`);
    });
    return worker;
  }

  #end(worker: Worker): void {
    if (this.#running !== undefined || this.#worker !== worker) return;
    this.#worker = undefined;
    void worker.terminate(); // cannot fail: a thread that is gone already is success
  }

  #receive(message: UnpackMessage): void {
    switch (message.type) {
      case 'progress':
        this.#running?.onProgress(message.blobBytes);
        return;
      case 'done':
        this.#running?.resolve(message.result);
        return;
      case 'failed':
        this.#running?.reject(new HatobaError(message.error.kind, message.error.message));
    }
  }

  #post(request: UnpackRequest): void {
    this.#worker?.postMessage(request);
  }
}
