import { Worker } from 'node:worker_threads';
import { describeError, HatobaError } from '../../common/errors.js';
import { workerEntry } from '../../common/worker-entry.js';
import type { PathChange, PathStat } from '../engine.js';
import { type CopyJob, type CopyMessage, type CopyRequest } from './copy-protocol.js';

/** Each takes some ten megabytes, and a client that stands still keeps its thread. */
const MAX_THREADS = 64;

/**
 * File work in threads of their own, one for each piece of work: it goes through trees that belong
 * to others, which may be large, and hang (a network file system) for as long as they like.
 */
export class CopyThreads implements AsyncDisposable {
  readonly #running = new Set<CopyThread>();

  /** The tar of a path. Its thread lives until the tar is read, given up, or the signal aborts. */
  async pack(
    job: CopyJob & { type: 'pack' },
    signal?: AbortSignal,
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }> {
    const thread = this.#start(job, signal);
    try {
      const { stat } = await thread.expect('stat');
      return { stat, tar: thread.chunks() };
    } catch (error) {
      thread.end();
      throw error;
    }
  }

  async *packRoot(
    job: CopyJob & { type: 'pack-root' },
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    yield* this.#start(job, signal).chunks();
  }

  async unpack(
    job: CopyJob & { type: 'unpack' },
    tar: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<void> {
    const thread = this.#start(job, signal);
    try {
      await thread.expect('taken');
      for await (const bytes of tar) {
        thread.post({ type: 'chunk', bytes });
        await thread.expect('taken');
      }
      thread.post({ type: 'end' });
      await thread.expect('done');
    } finally {
      thread.end();
    }
  }

  async diff(job: CopyJob & { type: 'diff' | 'diff-copy' }): Promise<PathChange[]> {
    const thread = this.#start(job);
    try {
      return (await thread.expect('changes')).changes;
    } finally {
      thread.end();
    }
  }

  /** Bytes on disk of folders and all in them. */
  async measure(paths: readonly string[]): Promise<number> {
    const thread = this.#start({ type: 'measure', paths });
    try {
      return (await thread.expect('bytes')).bytes;
    } finally {
      thread.end();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const thread of this.#running) {
      thread.fail(new HatobaError('cancelled', 'the engine is closing'));
    }
    return Promise.resolve();
  }

  #start(job: CopyJob, signal?: AbortSignal): CopyThread {
    signal?.throwIfAborted();
    if (this.#running.size >= MAX_THREADS) {
      throw new HatobaError(
        'resource-exhausted',
        `${MAX_THREADS} copies are running; wait for one of them to end`,
      );
    }
    const thread: CopyThread = new CopyThread(job, {
      signal,
      onEnd: () => this.#running.delete(thread),
    });
    this.#running.add(thread);
    return thread;
  }
}

type MessageOf<T extends CopyMessage['type']> = Extract<CopyMessage, { type: T }>;

/** One copying thread as its starter sees it. */
class CopyThread {
  readonly #worker: Worker;
  readonly #signal: AbortSignal | undefined;
  readonly #onEnd: () => void;
  readonly #messages: CopyMessage[] = [];
  #failure: Error | undefined;
  #hasEnded = false;
  /** Ended from outside, before its work was done. */
  #wasCut = false;
  #wake: () => void = () => undefined;

  constructor(job: CopyJob, options: { signal: AbortSignal | undefined; onEnd: () => void }) {
    const [entry, settings] = workerEntry('./copy-worker', import.meta.url);
    this.#worker = new Worker(entry, { ...settings, workerData: job });
    this.#signal = options.signal;
    this.#onEnd = options.onEnd;
    this.#worker.on('message', (message: CopyMessage) => {
      this.#messages.push(message);
      this.#wake();
    });
    this.#worker.on('error', (error) => {
      this.fail(new HatobaError('internal', `the copying thread ended: ${describeError(error)}`));
    });
    this.#worker.on('exit', () => {
      // After its last message, as a rule; else whoever waits must be told.
      this.#failure ??= new HatobaError('internal', 'the copying thread ended before its work');
      this.#wake();
    });
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  post(request: CopyRequest): void {
    this.#worker.postMessage(request);
  }

  /** The next message, which must be of this type. @throws what the thread tells */
  async expect<T extends CopyMessage['type']>(type: T): Promise<MessageOf<T>> {
    const message = await this.#next();
    if (message.type === type) return message as MessageOf<T>;
    throw new HatobaError('internal', `the copying thread said ${message.type}, not ${type}`);
  }

  /** The chunks up to the end; giving them up, read or not, ends the thread. */
  chunks(): AsyncIterableIterator<Uint8Array> {
    const iterator: AsyncIterableIterator<Uint8Array> = {
      [Symbol.asyncIterator]: () => iterator,
      next: async () => {
        if (this.#hasEnded) {
          if (this.#wasCut)
            throw this.#failure ?? new HatobaError('cancelled', 'copying was cancelled');
          return { done: true, value: undefined };
        }
        try {
          const message = await this.#next();
          if (message.type === 'chunk') {
            this.post({ type: 'more' });
            return { done: false, value: message.bytes };
          }
          this.end();
          return { done: true, value: undefined };
        } catch (error) {
          this.end();
          throw error;
        }
      },
      return: () => {
        this.end();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    return iterator;
  }

  /** Tells whoever waits, and ends the thread. */
  fail(error: Error): void {
    this.#failure = error;
    this.#wasCut = !this.#hasEnded;
    this.#messages.length = 0;
    this.end();
    this.#wake();
  }

  /** Not waited for: a thread may hang in a call to a file system that does not answer. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    void this.#worker.terminate(); // cannot fail
    this.#onEnd();
  }

  readonly #onAbort = (): void => {
    this.fail(this.#signal?.reason as Error);
  };

  async #next(): Promise<CopyMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message?.type === 'failed') throw new HatobaError(message.kind, message.message);
      if (message !== undefined) return message;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
