import { Worker } from 'node:worker_threads';
import { HatobaError, describeError } from '../common/errors.js';
import { workerEntry, type WorkerEntry } from '../common/worker-entry.js';
import type { CallRequest, KernelCall, KernelCalls, WorkerMessage } from './protocol.js';

interface Pending {
  call: KernelCall;
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

export interface WorkerListeners {
  /** A spawned process has ended; see toExitCode in spawn.ts. */
  onExit: (pid: number, exitCode: number) => void;
  /** The worker has died, unasked; called once. */
  onFailure: (error: HatobaError) => void;
}

/**
 * Calls to the worker thread.
 * 1. Calls run in the order in which they were made, one at a time.
 * 2. Each ends exactly once; when the worker dies, all that wait reject with `unavailable`, and so
 *    does every later one.
 */
export class WorkerClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #onExit: (pid: number, exitCode: number) => void;
  readonly #onFailure: (error: HatobaError) => void;
  readonly #ready: Promise<void>;
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #lastId = 0;
  #ended: HatobaError | undefined;
  #isClosing = false;

  private constructor(worker: Worker, listeners: WorkerListeners) {
    this.#worker = worker;
    this.#ready = new Promise((resolve, reject) => {
      this.#starting = { resolve, reject };
    });
    this.#onExit = listeners.onExit;
    this.#onFailure = listeners.onFailure;
    worker.on('message', (message: WorkerMessage) => {
      this.#receive(message);
    });
    worker.on('error', (error) => {
      this.#end(`its worker thread threw: ${describeError(error)}`, error);
    });
    worker.on('exit', (code) => {
      this.#end(`its worker thread ended with code ${code}`);
    });
  }

  /**
   * Starts the worker and waits until it is ready.
   * @throws {HatobaError} unavailable, when it cannot start (no root, no C library)
   */
  static async start(
    listeners: WorkerListeners,
    entry: WorkerEntry = workerEntry('./sys-worker', import.meta.url),
  ): Promise<WorkerClient> {
    const client = new WorkerClient(new Worker(...entry), listeners);
    await client.#ready;
    return client;
  }

  call<K extends KernelCall>(
    call: K,
    ...args: Parameters<KernelCalls[K]>
  ): Promise<ReturnType<KernelCalls[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) {
        reject(this.#ended);
        return;
      }
      const id = ++this.#lastId;
      this.#pending.set(id, { call, resolve, reject });
      this.#worker.postMessage({ id, call, args } satisfies CallRequest);
    });
  }

  /** Ends the worker after the calls made so far. */
  async close(): Promise<void> {
    if (this.#isClosing || this.#ended !== undefined) return;
    this.#isClosing = true;
    await this.call('close');
    await this.#worker.terminate();
  }

  #receive(message: WorkerMessage): void {
    switch (message.type) {
      case 'ready':
        this.#starting?.resolve();
        this.#starting = undefined;
        return;
      case 'exit':
        this.#onExit(message.pid, message.exitCode);
        return;
      case 'result':
        this.#take(message.id)?.resolve(message.value as never);
        return;
      case 'error': {
        const { kind, message: text, detail } = message.error;
        this.#take(message.id)?.reject(new HatobaError(kind, text, { detail }));
      }
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #end(reason: string, cause?: unknown): void {
    if (this.#ended !== undefined) return;
    const ended = new HatobaError('unavailable', `the kernel cannot be reached: ${reason}`, {
      cause,
    });
    this.#ended = ended;
    for (const { call, reject } of this.#pending.values()) {
      reject(new HatobaError('unavailable', `${call}: ${ended.message}`, { cause }));
    }
    this.#pending.clear();
    if (this.#starting !== undefined) this.#starting.reject(ended);
    else if (!this.#isClosing) this.#onFailure(ended);
  }
}
