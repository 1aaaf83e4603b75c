import { isIP } from 'node:net';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { UpstreamHealth } from '../core/upstream-health.js';
import { exchange as realExchange, type Exchange, type Transport } from './exchange.js';
import { ForeignQuestion } from './foreign-question.js';
import type { Query } from './query.js';

const DNS_PORT = 53;
const MAX_RUNNING = 1024;
const MAX_RUNNING_PER_ASKER = 128;
/** As many as the resolver library looks at; so many messages one question costs at most. */
const MAX_UPSTREAMS = 3;
const TELL_EVERY_MS = 60_000;

export interface ForwarderOptions {
  /** Addresses of the host's resolvers, in order; looked up anew for every question. */
  upstreams: () => readonly string[];
  /** Whether this server itself answers at an address: it must not ask itself. */
  isOwn?: (address: string) => boolean;
  /** Other than 53 in tests. */
  port?: number;
}

export interface Asker {
  /** Who asks. */
  address: string;
  /** Resolvers of its own, in place of the host's. */
  upstreams?: readonly string[];
}

/**
 * Asks other resolvers, byte for byte, by the transport that the asker used. Nothing is kept: the
 * host's own resolver is the place for a cache, and one that containers share could be poisoned by
 * one of them.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #modules: { clock: Clock; logger: Logger; exchange: Exchange };
  readonly #health = new UpstreamHealth();
  #running = 0;
  readonly #runningOf = new Map<string, number>();
  #toldMs = -Infinity;

  constructor(
    options: ForwarderOptions,
    modules: { clock: Clock; logger: Logger; exchange?: Exchange },
  ) {
    this.#options = options;
    this.#modules = { exchange: realExchange, ...modules };
  }

  /**
   * The first answer of a resolver.
   * @throws {HatobaError} unavailable when none answers or there is none, resource-exhausted when
   *   the asker, or all together, have too many questions under way
   */
  async forward(query: Query, transport: Transport, asker: Asker): Promise<Buffer> {
    const upstreams = this.#choose(asker);
    const own = this.#runningOf.get(asker.address) ?? 0;
    if (own >= MAX_RUNNING_PER_ASKER || this.#running >= MAX_RUNNING) throw this.#tooMany(asker);
    this.#count(asker, 1);
    try {
      const to = { port: this.#options.port ?? DNS_PORT, transport };
      const modules = { ...this.#modules, health: this.#health };
      return await new ForeignQuestion(query, upstreams, to, modules).answer();
    } finally {
      this.#count(asker, -1);
    }
  }

  /** A single resolver is asked twice: a message may have been lost. */
  #choose(asker: Asker): string[] {
    const { upstreams, isOwn = () => false } = this.#options;
    const usable = (asker.upstreams ?? upstreams()).filter((a) => isIP(a) !== 0 && !isOwn(a));
    const order = this.#health.order(usable, this.#modules.clock.nowMs()).slice(0, MAX_UPSTREAMS);
    const [first] = order;
    if (first === undefined)
      throw new HatobaError('unavailable', 'there is no DNS resolver to ask');
    return order.length === 1 ? [first, first] : order;
  }

  #count({ address }: Asker, by: 1 | -1): void {
    this.#running += by;
    const own = (this.#runningOf.get(address) ?? 0) + by;
    if (own === 0) this.#runningOf.delete(address);
    else this.#runningOf.set(address, own);
  }

  #tooMany({ address }: Asker): HatobaError {
    const { clock, logger } = this.#modules;
    if (clock.nowMs() - this.#toldMs >= TELL_EVERY_MS) {
      this.#toldMs = clock.nowMs();
      const running = this.#running;
      logger.warn('Refused a foreign DNS question: too many are under way', { address, running });
    }
    return new HatobaError('resource-exhausted', 'too many foreign DNS questions are under way');
  }
}
