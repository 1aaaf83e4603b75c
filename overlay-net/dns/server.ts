import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import type { Logger } from '../../common/logger.js';
import { Listener, type Respond } from './listener.js';

export interface DnsServerModules {
  clock: Clock;
  logger: Logger;
  respond: Respond;
}

/** DNS at the gateway addresses of the networks. */
export class DnsServer implements AsyncDisposable {
  readonly #port: number;
  readonly #modules: DnsServerModules;
  readonly #listeners = new Map<string, Listener>();

  constructor(options: { port: number }, modules: DnsServerModules) {
    this.#port = options.port;
    this.#modules = modules;
  }

  /**
   * Answers at exactly these addresses from now on. One that cannot be had is reported in the log
   * and tried again with the next call: names must not hold up the networks themselves.
   */
  async listenAt(addresses: ReadonlySet<string>): Promise<void> {
    for (const [address, listener] of this.#listeners) {
      if (addresses.has(address)) continue;
      this.#listeners.delete(address);
      await listener[Symbol.asyncDispose]();
    }
    const { respond, logger } = this.#modules;
    for (const address of addresses) {
      if (this.#listeners.has(address)) continue;
      try {
        const listener = await Listener.open(address, this.#port, respond, this.#modules);
        this.#listeners.set(address, listener);
      } catch (error) {
        logger.error('Could not open a DNS socket', { address }, error);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new DisposableStack();
    for (const [address, listener] of this.#listeners) stack.use(address, listener);
    this.#listeners.clear();
  }
}
