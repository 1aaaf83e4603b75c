import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import { describeError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { Mutex } from '../../common/mutex.js';
import type { Respond } from './answerer.js';
import { Listener } from './listener.js';

const RETRY_MS = 5000;

export interface DnsServerModules {
  clock: Clock;
  logger: Logger;
  respond: Respond;
}

/**
 * DNS at the gateway addresses of the networks. An address that cannot be had must not hold up the
 * networks themselves: the log says why, once, and it is tried again until it can be had.
 */
export class DnsServer implements AsyncDisposable {
  readonly #port: number;
  readonly #modules: DnsServerModules;
  readonly #mutex = new Mutex();
  readonly #listeners = new Map<string, Listener>();
  #addresses: ReadonlySet<string> = new Set();
  /** Addresses that could not be had, and why. */
  readonly #missing = new Map<string, string>();
  #cancelRetry: () => void = () => undefined;

  constructor(options: { port: number }, modules: DnsServerModules) {
    this.#port = options.port;
    this.#modules = modules;
  }

  /** Answers at exactly these addresses from now on. */
  async listenAt(addresses: ReadonlySet<string>): Promise<void> {
    this.#addresses = addresses;
    await this.#mutex.run(() => this.#adjust());
  }

  /** Whether an address is one that this server answers at. */
  isOwn(address: string): boolean {
    return this.#addresses.has(address);
  }

  async #adjust(): Promise<void> {
    this.#cancelRetry();
    for (const [address, listener] of this.#listeners) {
      if (this.#addresses.has(address)) continue;
      this.#listeners.delete(address);
      await listener[Symbol.asyncDispose]();
    }
    for (const address of this.#missing.keys()) {
      if (!this.#addresses.has(address)) this.#missing.delete(address);
    }
    for (const address of this.#addresses) {
      if (!this.#listeners.has(address)) await this.#open(address);
    }
    if (this.#missing.size > 0) this.#retryLater();
  }

  async #open(address: string): Promise<void> {
    const { respond, logger } = this.#modules;
    try {
      const listener = await Listener.open(address, this.#port, respond, this.#modules);
      this.#listeners.set(address, listener);
      if (this.#missing.delete(address)) logger.info('Opened the DNS socket', { address });
    } catch (error) {
      const reason = describeError(error);
      if (this.#missing.get(address) === reason) return;
      this.#missing.set(address, reason);
      logger.error('Could not open a DNS socket, trying again', { address }, error);
    }
  }

  #retryLater(): void {
    const { clock, logger } = this.#modules;
    this.#cancelRetry = clock.setTimer(RETRY_MS, () => {
      this.#mutex
        .run(() => this.#adjust())
        .catch((error: unknown) => {
          logger.error('Could not open DNS sockets', {}, error);
        });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#addresses = new Set();
    await this.#mutex.run(async () => {
      this.#cancelRetry();
      await using stack = new DisposableStack();
      for (const [address, listener] of this.#listeners) stack.use(address, listener);
      this.#listeners.clear();
    });
  }
}
