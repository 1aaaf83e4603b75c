import type { Logger } from '../../common/logger.js';
import type { ZoneAnswer } from '../core/dns-names.js';
import { rotate } from '../core/rotate.js';
import type { Zone } from '../core/dns-zone.js';
import { formatAnswer, type AnswerRecord } from './answer.js';
import type { Client } from './clients.js';
import type { Transport } from './exchange.js';
import type { Forwarder } from './forwarder.js';
import { parseQuery, type Query } from './query.js';
import { RCODE, TYPE } from './wire.js';

export interface ResponderModules {
  forwarder: Forwarder;
  logger: Logger;
  zone: Zone;
  /** Who has that address; undefined: nobody that is answered. */
  clientAt: (address: string) => Client | undefined;
}

/** The answer, or nothing when nothing is to be said; at once but for foreign names. */
export type Reply = Buffer | undefined | Promise<Buffer | undefined>;

/** Answers one question: from the names of the asker's networks, or by other resolvers. */
export class Responder {
  readonly #modules: ResponderModules;
  #turn = 0;

  constructor(modules: ResponderModules) {
    this.#modules = modules;
  }

  /** Says nothing to who is not on one of the networks, or asks no question. */
  respond(message: Buffer, from: string, transport: Transport): Reply {
    const client = this.#modules.clientAt(from);
    const query = client === undefined ? undefined : parseQuery(message);
    if (client === undefined || query === undefined) return undefined;
    if (query.fault !== RCODE.ok) return formatAnswer(query, [], { rcode: query.fault });
    const answer = this.#lookup(client.networks, query);
    if (answer.kind === 'foreign') return this.#forward(query, transport, { from, client });
    return formatAnswer(query, this.#records(query, answer), {
      rcode: answer.kind === 'absent' ? RCODE.nameError : RCODE.ok,
      maxBytes: transport === 'udp' ? query.udpBytes : 65535,
    });
  }

  #lookup(networks: readonly string[], { type, name }: Query): ZoneAnswer {
    const { zone } = this.#modules;
    const reversed = type === TYPE.PTR ? zone.reverse(networks, name) : undefined;
    return reversed === undefined || reversed.kind === 'foreign'
      ? zone.lookup(networks, name)
      : reversed;
  }

  /** A name that exists answers other types than A with nothing, rather than "no such name". */
  #records({ type }: Query, answer: ZoneAnswer): AnswerRecord[] {
    if (answer.kind === 'name') return [{ type: 'PTR', name: answer.name }];
    if (answer.kind !== 'addresses' || (type !== TYPE.A && type !== TYPE.ANY)) return [];
    return rotate(answer.addresses, this.#turn++).map((address) => ({ type: 'A', address }));
  }

  async #forward(
    query: Query,
    transport: Transport,
    { from, client }: { from: string; client: Client },
  ): Promise<Buffer> {
    const { zone, forwarder, logger } = this.#modules;
    const { networks, upstreams } = client;
    if (zone.hasOutside(networks)) {
      const asker = { address: from, ...(upstreams === undefined ? {} : { upstreams }) };
      try {
        return await forwarder.forward(query, transport, asker);
      } catch (error) {
        logger.debug('Could not forward a DNS question', { name: query.name, from }, error);
      }
    }
    return formatAnswer(query, [], { rcode: RCODE.serverFailure });
  }
}
