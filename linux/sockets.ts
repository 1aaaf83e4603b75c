import { unlink } from 'node:fs/promises';
import { errnoOf, HatobaError } from '../common/errors.js';
import { DescriptorStream, orClose, whenReadable } from './descriptor-stream.js';
import type { Sockets, Terminal, TerminalListener } from './ports.js';
import type { WorkerClient } from './worker-client.js';

type Calls = Pick<WorkerClient, 'call'>;

/** Sockets by way of the worker thread, which opens them, and of Node, which reads them. */
export function toSockets(kernel: Calls): Sockets {
  return {
    async connectPackets(path, packetBytes) {
      const fd = await kernel.call('sockets.connect', path);
      return await DescriptorStream.open(kernel, fd, {
        isPackets: true,
        packetBytes,
        passesEnd: true,
      });
    },
    async listenForTerminal(path) {
      const listener = await kernel.call('sockets.listen', path);
      return new ConsoleSocket(kernel, path, listener);
    },
    resizeTerminal: (path, { rows, columns }) => kernel.call('sockets.resize', path, rows, columns),
  };
}

/** A socket that takes in one terminal. */
class ConsoleSocket implements TerminalListener {
  readonly terminal: Promise<Terminal>;
  readonly #kernel: Calls;
  readonly #path: string;
  readonly #end = new AbortController();

  constructor(kernel: Calls, path: string, listener: number) {
    this.#kernel = kernel;
    this.#path = path;
    this.terminal = this.#receive(listener);
    this.terminal.catch(() => undefined); // for whoever waits
  }

  async close(): Promise<void> {
    this.#end.abort(new HatobaError('cancelled', `no terminal came over ${this.#path}`));
    await this.terminal.catch(() => undefined);
    try {
      await unlink(this.#path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  async #receive(listener: number): Promise<Terminal> {
    const kernel = this.#kernel;
    const connection = await using(kernel, listener, () => this.#accept(listener));
    const fd = await using(kernel, connection, () => this.#receiveFrom(connection));
    return await openTerminal(kernel, fd);
  }

  async #accept(listener: number): Promise<number> {
    for (;;) {
      await whenReadable(this.#kernel, listener, this.#end.signal);
      // Also at the end: a sender may have come, and be gone again, before anybody looked.
      const connection = await this.#kernel.call('sockets.accept', listener);
      if (connection !== undefined) return connection;
      this.#end.signal.throwIfAborted();
    }
  }

  async #receiveFrom(connection: number): Promise<number> {
    await whenReadable(this.#kernel, connection, this.#end.signal);
    try {
      return await this.#kernel.call('sockets.receiveFd', connection);
    } catch (error) {
      this.#end.signal.throwIfAborted();
      throw error;
    }
  }
}

async function openTerminal(kernel: Calls, fd: number): Promise<Terminal> {
  // A descriptor of its own for resizing: the stream's number may be another file's by then.
  const control = await orClose(kernel, fd, kernel.call('sockets.duplicate', fd));
  const opening = DescriptorStream.open(kernel, fd, { isPackets: false, passesEnd: false });
  const stream = await orClose(kernel, control, opening);
  let isOpen = true;
  stream.once('close', () => {
    isOpen = false;
    // It fails only with the worker, which is reported where that happens.
    kernel.call('sockets.close', control).catch(() => undefined);
  });
  return {
    stream,
    async resize({ rows, columns }) {
      if (isOpen) await kernel.call('sockets.resize', control, rows, columns);
    },
  };
}

/** Closes `fd` after the work. */
async function using<T>(kernel: Calls, fd: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await kernel.call('sockets.close', fd);
  }
}
