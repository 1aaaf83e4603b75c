import type { PublishMode } from '../../proto/gen/hatoba/v1/types.js';
import {
  PortConfig,
  PortProtocol,
  type PortConfig as Port,
} from '../../proto/gen/hatoba/v1/types.js';
import { wrong } from './wrong.js';

/** The words in which people name ports, in compose files and on the command line. */

const PROTOCOLS = {
  tcp: PortProtocol.TCP,
  udp: PortProtocol.UDP,
  sctp: PortProtocol.SCTP,
} as const;
export type ProtocolWord = keyof typeof PROTOCOLS;
export const PROTOCOL_WORDS = ['tcp', 'udp', 'sctp'] as const;

const SHORT =
  /^(?:(?:(\[[0-9a-f:]+\]|[0-9.]+):)?([0-9]+(?:-[0-9]+)?)?:)?([0-9]+(?:-[0-9]+)?)(?:\/(tcp|udp|sctp))?$/;

/** Ports as they are written: both sides may be ranges of the same length. */
export interface PortWords {
  hostIp: string;
  /** "8080", "3000-3005"; undefined = any free port. */
  published: string | undefined;
  target: string;
  protocol: ProtocolWord;
  mode: PublishMode;
  name: string;
}

/**
 * "80", "8080:80", "127.0.0.1:8080:80/udp", "3000-3005:3000-3005".
 * @throws {HatobaError} invalid-argument
 */
export function parsePorts(text: string, mode: PublishMode): Port[] {
  const match = SHORT.exec(text);
  if (match === null) {
    throw wrong(`"${text}" is not a port like "8080:80", "127.0.0.1:8080:80/udp" or "80"`);
  }
  const [, hostIp = '', published, target = '', protocol = 'tcp'] = match;
  return expandPorts({
    hostIp: hostIp.replace(/^\[|\]$/g, ''),
    published,
    target,
    protocol: protocol as ProtocolWord,
    mode,
    name: '',
  });
}

/** One port for each of a range. @throws {HatobaError} invalid-argument */
export function expandPorts(words: PortWords): Port[] {
  const targets = rangeOf(words.target);
  const published = words.published === undefined ? undefined : rangeOf(words.published);
  if (published !== undefined && published.length !== targets.length) {
    throw wrong(
      `publishes ${published.length} ports for ${targets.length} in the container; the ranges must be equally long`,
    );
  }
  return targets.map((targetPort, i) =>
    PortConfig.fromPartial({
      name: words.name,
      protocol: PROTOCOLS[words.protocol],
      targetPort,
      publishedPort: published?.[i] ?? 0,
      publishMode: words.mode,
      hostIp: words.hostIp,
    }),
  );
}

function rangeOf(text: string): number[] {
  const [first = NaN, last = first] = text.split('-').map(Number);
  if (!(first >= 1 && last <= 65535 && first <= last)) {
    throw wrong(`"${text}" is not a port or a range of ports between 1 and 65535`);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
