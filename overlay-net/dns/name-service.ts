import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import { Zone } from '../core/dns-zone.js';
import type { NetworkState } from '../core/network-state.js';
import type { Client } from './clients.js';
import { Forwarder } from './forwarder.js';
import { hostResolvers } from './resolv-conf.js';
import { Responder } from './responder.js';
import { DnsServer } from './server.js';

const DNS_PORT = 53;

export interface NameServiceOptions {
  /** Resolvers for names that are not ours; those of /etc/resolv.conf, as of now. */
  upstreams?: readonly string[];
  /** Other than 53 in tests, for questions to this server and to others. */
  port?: number;
  upstreamPort?: number;
}

export interface NameServiceModules {
  clock: Clock;
  logger: Logger;
  /** The container with that address; undefined: there is none here. */
  containerAt: (address: string) => Client | undefined;
}

/** The names of this node's networks, answered at their gateways. */
export class NameService implements AsyncDisposable {
  readonly #zone = new Zone();
  readonly #server: DnsServer;
  readonly #containerAt: NameServiceModules['containerAt'];

  constructor(options: NameServiceOptions, modules: NameServiceModules) {
    const { clock, logger } = modules;
    const { upstreams, port = DNS_PORT, upstreamPort = DNS_PORT } = options;
    this.#containerAt = modules.containerAt;
    const forwarder = new Forwarder(
      {
        upstreams:
          upstreams === undefined
            ? hostResolvers('/etc/resolv.conf', { clock, logger })
            : () => upstreams,
        isOwn: (address) => this.#server.isOwn(address),
        port: upstreamPort,
      },
      { clock, logger },
    );
    const clientAt = (address: string): Client | undefined => this.#clientAt(address);
    const responder = new Responder({ forwarder, logger, zone: this.#zone, clientAt });
    this.#server = new DnsServer(
      { port },
      { clock, logger, respond: (...question) => responder.respond(...question) },
    );
  }

  /** Names and addresses are those of this state from now on. */
  update(state: NetworkState): void {
    this.#zone.update(state);
  }

  async listenAt(addresses: ReadonlySet<string>): Promise<void> {
    await this.#server.listenAt(addresses);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  /** A container, or this host itself by the address of a gateway. */
  #clientAt(address: string): Client | undefined {
    const container = this.#containerAt(address);
    if (container !== undefined) return container;
    const networkId = this.#zone.networkOfGateway(address);
    return networkId === undefined ? undefined : { networks: [networkId] };
  }
}
