import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Clock } from '../../common/clock.js';

const KEPT_MS = 5000;

/** The addresses after `nameserver` in a resolv.conf; scopes of link-local ones are kept. */
export function parseNameservers(text: string): string[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIP(address.split('%')[0] ?? '') !== 0);
}

/** The host's resolvers, read again when the last look is older than 5 s: networks come and go. */
export function hostResolvers(path: string, clock: Clock): () => readonly string[] {
  let readAtMs = -Infinity;
  let upstreams: readonly string[] = [];
  return () => {
    if (clock.nowMs() - readAtMs > KEPT_MS) {
      upstreams = readNameservers(path);
      readAtMs = clock.nowMs();
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
