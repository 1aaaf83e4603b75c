import { Duplex, PassThrough } from 'node:stream';
import { HatobaError } from '../../common/errors.js';
import type { Terminal, TerminalListener } from '../../linux/ports.js';

/** The other end of packet connections, as a test plays it. */
export class FakePeer {
  /** Packets of all connections, in the order they came. */
  readonly received: Buffer[] = [];
  /** Connections that ended their sending side. */
  ended = 0;
  readonly #connections = new Set<Duplex>();

  get connections(): number {
    return this.#connections.size;
  }

  /** Sends a packet to all who are connected. */
  send(packet: string | Uint8Array): void {
    for (const connection of this.#connections) connection.push(Buffer.from(packet));
  }

  /** Ends all connections. */
  close(): void {
    for (const connection of this.#connections) connection.push(null);
  }

  connect(packetBytes: number): Duplex {
    const connection = new Duplex({
      readableObjectMode: true,
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        for (let at = 0; at < chunk.length; at += packetBytes) {
          this.received.push(chunk.subarray(at, at + packetBytes));
        }
        done();
      },
      final: (done) => {
        this.ended += 1;
        done();
      },
    });
    connection.once('end', () => connection.destroy());
    connection.once('close', () => this.#connections.delete(connection));
    this.#connections.add(connection);
    return connection;
  }
}

/** A console socket whose terminal the test hands over. */
export class FakeConsole implements TerminalListener {
  readonly terminal: Promise<Terminal>;
  #resolve: (terminal: Terminal) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  readonly #onClose: () => void;

  constructor(onClose: () => void) {
    this.#onClose = onClose;
    this.terminal = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.terminal.catch(() => undefined);
  }

  hand(terminal: Terminal): void {
    this.#resolve(terminal);
  }

  close(): Promise<void> {
    this.#reject(new HatobaError('cancelled', 'no terminal came'));
    this.#onClose();
    return Promise.resolve();
  }
}

/** A terminal that echoes nothing: what programs write is pushed by the test. */
export class FakeTerminal implements Terminal {
  readonly typed = new PassThrough();
  readonly sizes: { rows: number; columns: number }[] = [];
  readonly stream = new Duplex({
    read: () => undefined,
    write: (chunk, encoding, done) => {
      this.typed.write(chunk, encoding);
      done();
    },
  });

  resize(size: { rows: number; columns: number }): Promise<void> {
    this.sizes.push(size);
    return Promise.resolve();
  }
}
