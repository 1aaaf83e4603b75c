import { closeSync, readSync } from 'node:fs';
import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net';
import { Duplex } from 'node:stream';
import { errnoOf } from '../common/errors.js';
import type { WorkerClient } from './worker-client.js';

/** More than any packet there is, and than a terminal gives at once. */
const READ_BYTES = 64 * 1024;
const PACKETS_AHEAD = 4;
/** How a peer, or the last program on a terminal, is gone. */
const ENDS = ['EIO', 'ECONNRESET', 'EPIPE'];

type Calls = Pick<WorkerClient, 'call'>;

export interface DescriptorOptions {
  /** Each read is a packet of its own. */
  isPackets: boolean;
  /** The longest packet to write. */
  packetBytes?: number;
  /** The end of writing is for the peer to see; a terminal has no such thing. */
  passesEnd: boolean;
}

/**
 * Any descriptor that can be polled as a stream that owns it: read and written by libuv, without a
 * thread.
 * 1. A peer that is gone ends the stream and is no error; what is written to it is dropped.
 * 2. Little is read ahead of the reader, so that a peer waits for a slow one.
 */
export class DescriptorStream extends Duplex {
  readonly #socket: Socket;
  readonly #options: DescriptorOptions;
  /** The same open file once more, for what is left in it at the end. */
  #copy: number | undefined;

  private constructor(socket: Socket, copy: number, options: DescriptorOptions) {
    super({
      readableObjectMode: options.isPackets,
      ...(options.isPackets && { readableHighWaterMark: PACKETS_AHEAD }),
    });
    this.#socket = socket;
    this.#copy = copy;
    this.#options = options;
    for (const event of ['end', 'close']) socket.on(event, () => this.#endReading());
    socket.on('error', (error) => {
      if (ENDS.includes(errnoOf(error) ?? '')) this.#endReading();
      else this.destroy(error);
    });
    this.once('end', () => this.destroy());
  }

  /** Takes `fd` over, also when it throws. */
  static async open(
    kernel: Calls,
    fd: number,
    options: DescriptorOptions,
  ): Promise<DescriptorStream> {
    let stream: DescriptorStream | undefined = undefined;
    const buffer = Buffer.alloc(READ_BYTES);
    const copy = await orClose(kernel, fd, kernel.call('sockets.duplicate', fd));
    const onRead = (bytes: number): boolean =>
      // A copy: the next packet goes into the same place.
      stream === undefined ? true : stream.push(Buffer.from(buffer.subarray(0, bytes)));
    const socket = await adopt(kernel, fd, buffer, onRead).catch((error: unknown) => {
      closeSync(copy);
      throw error;
    });
    stream = new DescriptorStream(socket, copy, options);
    return stream;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const { packetBytes = chunk.length } = this.#options;
    const packet = chunk.subarray(0, packetBytes);
    if (packet.length === 0 || this.#socket.destroyed) {
      done();
      return;
    }
    // One at a time: several in one call of writev(2) would become one packet.
    this.#socket.write(packet, (error) => {
      if (error) done();
      else this._write(chunk.subarray(packet.length), _encoding, done);
    });
  }

  override _final(done: () => void): void {
    if (!this.#options.passesEnd || this.#socket.destroyed) done();
    else this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    this.#close();
    done(error);
  }

  /**
   * libuv takes a hang-up for the end as soon as a read was shorter than its buffer, and each packet
   * is; others may be waiting. An error, too, comes before what was sent before it.
   */
  #endReading(): void {
    if (this.#copy === undefined) return;
    const rest = readAll(this.#copy);
    this.#close();
    for (const part of rest) this.push(part);
    this.push(null);
  }

  #close(): void {
    if (this.#copy !== undefined) closeSync(this.#copy);
    this.#copy = undefined;
  }
}

/** All that can be read without waiting. */
function readAll(fd: number): readonly Buffer[] {
  const parts: Buffer[] = [];
  for (;;) {
    const part = Buffer.alloc(READ_BYTES);
    try {
      const bytes = readSync(fd, part);
      if (bytes === 0) return parts;
      parts.push(part.subarray(0, bytes));
    } catch (error) {
      // Told once, before what is still there.
      if (errnoOf(error) === 'ECONNRESET') continue;
      if (['EAGAIN', 'EIO'].includes(errnoOf(error) ?? '')) return parts;
      throw error;
    }
  }
}

/**
 * Waits until a descriptor can be read or the signal aborts, without reading it: a reader without
 * room for a single byte is told so at the first one.
 */
export async function whenReadable(kernel: Calls, fd: number, signal: AbortSignal): Promise<void> {
  const copy = await kernel.call('sockets.duplicate', fd);
  const socket = await adopt(kernel, copy, Buffer.alloc(0), () => false);
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      socket.destroy();
      resolve();
    };
    for (const event of ['error', 'end', 'close']) socket.on(event, finish);
    if (signal.aborted) finish();
    else signal.addEventListener('abort', finish, { once: true });
    socket.resume();
  });
}

/**
 * A socket around any descriptor. Node takes stream sockets only and looks at what it is given just
 * once: so it gets a stream socket, in whose place the descriptor is put before anything is read.
 * `fd` is taken over, also when this throws.
 * @param onRead returns whether to go on reading; else `resume` does
 */
async function adopt(
  kernel: Calls,
  fd: number,
  buffer: Uint8Array,
  onRead: (bytes: number) => boolean,
): Promise<Socket> {
  const carrier = await orClose(kernel, fd, kernel.call('sockets.openCarrier'));
  const options: SocketConstructorOpts & { onread: OnReadOpts } = {
    fd: carrier[0],
    readable: true,
    writable: true,
    allowHalfOpen: true,
    onread: { buffer, callback: onRead },
  };
  const socket = new Socket(options);
  // At once: the event loop has not seen the carrier yet, and must not.
  socket.pause();
  try {
    await kernel.call('sockets.moveOnto', fd, carrier);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return socket;
}

/** What `work` gives; when it fails, `fd` is closed, as nobody would. */
export async function orClose<T>(kernel: Calls, fd: number, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    await kernel.call('sockets.close', fd).catch(() => undefined); // the first failure is told
    throw error;
  }
}
