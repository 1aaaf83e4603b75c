import { createSocket, type Socket } from 'node:dgram';
import type { Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { Answerer, type Respond } from './answerer.js';
import { TcpListener } from './tcp-listener.js';

/** DNS at one address of this host, by UDP and TCP. */
export class Listener implements AsyncDisposable {
  readonly #udp: Socket;
  readonly #tcp: TcpListener;
  readonly #answerer: Answerer;
  #isClosed = false;

  /** @throws {HatobaError} unavailable when the address or its port cannot be had */
  static async open(
    address: string,
    port: number,
    respond: Respond,
    modules: { clock: Clock; logger: Logger },
  ): Promise<Listener> {
    const listener = new Listener(respond, modules);
    try {
      await listener.#bind(address, port, modules.logger);
    } catch (error) {
      await listener[Symbol.asyncDispose]();
      throw new HatobaError('unavailable', reasonOf(error, `${address}:${port}`), { cause: error });
    }
    return listener;
  }

  private constructor(respond: Respond, { clock, logger }: { clock: Clock; logger: Logger }) {
    this.#answerer = new Answerer(respond, logger);
    // an address is sent to as it is: by default even addresses pass through a lookup of names
    this.#udp = createSocket({ type: 'udp4', lookup: (name, _options, use) => use(null, name, 4) });
    this.#tcp = new TcpListener(this.#answerer, clock);
  }

  async #bind(address: string, port: number, logger: Logger): Promise<void> {
    const { server } = this.#tcp;
    await new Promise<void>((resolve, reject) => {
      this.#udp.once('error', reject);
      this.#udp.bind({ address, port, exclusive: true }, resolve);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port, exclusive: true }, resolve);
    });
    const onError = (error: Error): void => {
      logger.warn('DNS socket reported an error', { address }, error);
    };
    this.#udp.removeAllListeners('error').on('error', onError);
    server.removeAllListeners('error').on('error', onError);
    this.#udp.on('message', (message, from) => {
      this.#answerer.answer(message, { from: from.address, transport: 'udp' }, (answer) => {
        if (answer !== undefined) this.#send(answer, from);
      });
    });
  }

  /**
   * The asker may be gone, or this listener closed meanwhile: nobody is left to tell. A forged
   * message may come from port 0, to which a socket throws rather than sends.
   */
  #send(answer: Buffer, to: { address: string; port: number }): void {
    if (!this.#isClosed && to.port !== 0) this.#udp.send(answer, to.port, to.address, ignore);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await Promise.all([
      new Promise<void>((resolve) => this.#udp.close(() => resolve())),
      this.#tcp.close(),
    ]);
  }
}

const ignore = (): void => undefined;

function reasonOf(error: unknown, place: string): string {
  const errno = errnoOf(error) ?? 'error';
  const hint =
    errno === 'EADDRINUSE'
      ? ': another program has the port there, perhaps a DNS server that listens at every address; let that listen at its own addresses only'
      : '';
  return `cannot answer DNS at ${place} (${errno})${hint}`;
}
