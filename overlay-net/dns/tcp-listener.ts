import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../common/clock.js';
import type { Answerer } from './answerer.js';
import { FrameReader, toFrame } from './frames.js';

const MAX_CONNECTIONS = 128;
const MAX_CONNECTIONS_PER_ASKER = 16;
/** From one whole question to the next; bytes that make no question do not count. */
const IDLE_MS = 10_000;
/** Of questions and of bytes to send, after which nothing more is read. */
const MAX_PENDING = 64;
const MAX_UNSENT_BYTES = 256 * 1024;

/** DNS by TCP at one address. */
export class TcpListener {
  readonly server: Server;
  readonly #answerer: Answerer;
  readonly #clock: Clock;
  readonly #connections = new Set<Connection>();
  readonly #countOf = new Map<string, number>();

  constructor(answerer: Answerer, clock: Clock) {
    this.#answerer = answerer;
    this.#clock = clock;
    // who has said all may still wait for answers
    this.server = createServer({ allowHalfOpen: true }, (socket) => this.#onConnection(socket));
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  close(): Promise<void> {
    for (const connection of this.#connections) connection.stop();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  #onConnection(socket: Socket): void {
    const from = socket.remoteAddress ?? '';
    const others = this.#countOf.get(from) ?? 0;
    if (others >= MAX_CONNECTIONS_PER_ASKER) return void socket.destroy();
    this.#countOf.set(from, others + 1);
    const connection = new Connection(socket, from, this.#answerer, this.#clock);
    this.#connections.add(connection);
    socket.on('close', () => {
      connection.stop();
      this.#connections.delete(connection);
      const left = (this.#countOf.get(from) ?? 1) - 1;
      if (left === 0) this.#countOf.delete(from);
      else this.#countOf.set(from, left);
    });
  }
}

/** One connection: reads no further while its asker has enough to wait for, or takes no answers. */
class Connection {
  readonly #socket: Socket;
  readonly #from: string;
  readonly #answerer: Answerer;
  readonly #clock: Clock;
  readonly #frames = new FrameReader();
  #pending = 0;
  #hasEnded = false;
  #cancelIdle: () => void;

  constructor(socket: Socket, from: string, answerer: Answerer, clock: Clock) {
    this.#socket = socket;
    this.#from = from;
    this.#answerer = answerer;
    this.#clock = clock;
    this.#cancelIdle = this.#hangUpLater();
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('drain', () => this.#readOrRest());
    socket.on('end', () => {
      this.#hasEnded = true;
      this.#readOrRest();
    });
  }

  stop(): void {
    this.#cancelIdle();
    this.#socket.destroy();
  }

  #hangUpLater(): () => void {
    return this.#clock.setTimer(IDLE_MS, () => this.#socket.destroy());
  }

  #onData(chunk: Buffer): void {
    const messages = this.#frames.push(chunk);
    if (messages.length === 0) return;
    this.#cancelIdle();
    this.#cancelIdle = this.#hangUpLater();
    this.#pending += messages.length;
    for (const message of messages) {
      this.#answerer.answer(message, { from: this.#from, transport: 'tcp' }, (answer) => {
        this.#pending--;
        if (answer !== undefined && !this.#socket.destroyed) this.#socket.write(toFrame(answer));
        this.#readOrRest();
      });
    }
    this.#readOrRest();
  }

  #readOrRest(): void {
    const isBusy = this.#pending >= MAX_PENDING || this.#socket.writableLength >= MAX_UNSENT_BYTES;
    if (isBusy) this.#socket.pause();
    else this.#socket.resume();
    if (this.#hasEnded && this.#pending === 0) this.#socket.end();
  }
}
