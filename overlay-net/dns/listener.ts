import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { FrameReader, toFrame } from './frames.js';
import type { Transport } from './responder.js';

const MAX_CONNECTIONS = 128;
const IDLE_MS = 10_000;

export type Respond = (
  message: Buffer,
  from: string,
  transport: Transport,
) => Promise<Buffer | undefined>;

/** DNS at one address of this host, by UDP and TCP. */
export class Listener implements AsyncDisposable {
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();
  readonly #respond: Respond;
  readonly #modules: { clock: Clock; logger: Logger };

  /** @throws {HatobaError} unavailable when the address or its port cannot be had */
  static async open(
    address: string,
    port: number,
    respond: Respond,
    modules: { clock: Clock; logger: Logger },
  ): Promise<Listener> {
    const listener = new Listener(respond, modules);
    try {
      await listener.#bind(address, port);
    } catch (error) {
      await listener[Symbol.asyncDispose]();
      throw new HatobaError(
        'unavailable',
        `cannot answer DNS at ${address}:${port} (${errnoOf(error) ?? 'error'}): another program may have the port`,
        { cause: error },
      );
    }
    return listener;
  }

  private constructor(respond: Respond, modules: { clock: Clock; logger: Logger }) {
    this.#respond = respond;
    this.#modules = modules;
    this.#udp = createSocket('udp4');
    this.#tcp = createServer((socket) => this.#onConnection(socket));
    this.#tcp.maxConnections = MAX_CONNECTIONS;
  }

  async #bind(address: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#udp.once('error', reject);
      this.#udp.bind({ address, port, exclusive: true }, resolve);
    });
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once('error', reject);
      this.#tcp.listen({ host: address, port, exclusive: true }, resolve);
    });
    const onError = (error: Error): void => {
      this.#modules.logger.warn('DNS socket reported an error', { address }, error);
    };
    this.#udp.removeAllListeners('error').on('error', onError);
    this.#tcp.removeAllListeners('error').on('error', onError);
    this.#udp.on('message', (message, from) => {
      this.#answer(message, from.address, 'udp', (answer) => {
        // the asker may be gone: nobody is left to tell
        this.#udp.send(answer, from.port, from.address, () => undefined);
      });
    });
  }

  #onConnection(socket: Socket): void {
    const frames = new FrameReader();
    const from = socket.remoteAddress ?? '';
    let cancel = this.#hangUpLater(socket);
    this.#connections.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      cancel();
      this.#connections.delete(socket);
    });
    socket.on('data', (chunk) => {
      cancel();
      cancel = this.#hangUpLater(socket);
      for (const message of frames.push(chunk)) {
        this.#answer(message, from, 'tcp', (answer) => socket.write(toFrame(answer)));
      }
    });
  }

  #hangUpLater(socket: Socket): () => void {
    return this.#modules.clock.setTimer(IDLE_MS, () => socket.destroy());
  }

  #answer(
    message: Buffer,
    from: string,
    transport: Transport,
    send: (answer: Buffer) => void,
  ): void {
    this.#respond(message, from, transport).then(
      (answer) => {
        if (answer !== undefined) send(answer);
      },
      (error: unknown) => {
        this.#modules.logger.error('Could not answer a DNS question', { from }, error);
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => {
        // an unbound socket has nothing to close
        try {
          this.#udp.close(resolve);
        } catch {
          resolve();
        }
      }),
      new Promise<void>((resolve) => {
        this.#tcp.close(() => resolve());
      }),
    ]);
  }
}
