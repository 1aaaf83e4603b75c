import type { Logger } from '../../common/logger.js';
import { rotate, type Zone, type ZoneAnswer } from '../core/dns-zone.js';
import type { Forwarder } from './forwarder.js';
import { formatAnswer, parseQuery, RCODE, type AnswerRecord, type Query } from './message.js';

/** Names change with every task: nobody may keep an answer. */
const TTL_SECONDS = 0;

export type Transport = 'udp' | 'tcp';

export interface ResponderModules {
  forwarder: Forwarder;
  logger: Logger;
  /** The names as of now. */
  zone: () => Zone;
  /** The networks of the container with that address, in its order; undefined: not one of ours. */
  networksOf: (address: string) => readonly string[] | undefined;
}

/** Answers one question: from the names of the asker's networks, or by the host's resolvers. */
export class Responder {
  readonly #modules: ResponderModules;
  #turn = 0;

  constructor(modules: ResponderModules) {
    this.#modules = modules;
  }

  /** @returns undefined when nothing is to be said: not a question, or not from a container */
  async respond(message: Buffer, from: string, transport: Transport): Promise<Buffer | undefined> {
    const networks = this.#modules.networksOf(from);
    if (networks === undefined) return undefined;
    let query: Query;
    try {
      query = parseQuery(message);
    } catch (error) {
      this.#modules.logger.debug('Dropped a DNS message', { from }, error);
      return undefined;
    }
    const maxBytes = transport === 'udp' ? query.udpBytes : 65535;
    const answer = this.#lookup(networks, query);
    if (answer.kind === 'foreign') return this.#forward(networks, query, transport);
    const rcode = answer.kind === 'absent' ? RCODE.nameError : RCODE.ok;
    return formatAnswer(query, this.#records(query, answer), { rcode, maxBytes });
  }

  #lookup(networks: readonly string[], query: Query): ZoneAnswer {
    const zone = this.#modules.zone();
    const reversed = query.type === 'PTR' ? zone.reverse(networks, query.name) : undefined;
    return reversed === undefined || reversed.kind === 'foreign'
      ? zone.lookup(networks, query.name)
      : reversed;
  }

  /** A name that exists answers other types than A with nothing, rather than "no such name". */
  #records(query: Query, answer: ZoneAnswer): AnswerRecord[] {
    if (answer.kind === 'name') {
      return [{ type: 'PTR', name: answer.name, ttlSeconds: TTL_SECONDS }];
    }
    if (answer.kind !== 'addresses' || (query.type !== 'A' && query.type !== 'ANY')) return [];
    return rotate(answer.addresses, this.#turn++).map((address) => ({
      type: 'A',
      address,
      ttlSeconds: TTL_SECONDS,
    }));
  }

  async #forward(networks: readonly string[], query: Query, transport: Transport): Promise<Buffer> {
    const { zone, forwarder, logger } = this.#modules;
    if (zone().hasOutside(networks)) {
      try {
        return await forwarder.forward(query.message, transport);
      } catch (error) {
        logger.debug('Could not forward a DNS question', { name: query.name }, error);
      }
    }
    return formatAnswer(query, [], { rcode: RCODE.serverFailure });
  }
}
