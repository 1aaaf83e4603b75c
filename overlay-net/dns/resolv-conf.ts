import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';

const KEPT_MS = 5000;

/** The addresses after `nameserver` in a resolv.conf; scopes of link-local ones are kept. */
export function parseNameservers(text: string): string[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIP(address.split('%')[0] ?? '') !== 0);
}

/**
 * The host's resolvers, read again when the last look is older than 5 s: networks come and go. The
 * log says when there are none.
 */
export function hostResolvers(
  path: string,
  { clock, logger }: { clock: Clock; logger: Logger },
): () => readonly string[] {
  let readAtMs = -Infinity;
  let upstreams: readonly string[] | undefined;
  return () => {
    if (upstreams !== undefined && clock.nowMs() - readAtMs <= KEPT_MS) return upstreams;
    const before = upstreams;
    upstreams = readNameservers(path);
    readAtMs = clock.nowMs();
    if (upstreams.length === 0 && before?.length !== 0) {
      logger.warn('Found no DNS resolvers of this host: only names of the networks are known', {
        path,
      });
    }
    return upstreams;
  };
}

/** No file is as good as an empty one: a host without resolvers. */
function readNameservers(path: string): string[] {
  try {
    return parseNameservers(readFileSync(path, 'utf8'));
  } catch {
    return [];
  }
}
