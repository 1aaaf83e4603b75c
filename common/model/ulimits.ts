import type { Ulimit } from '../../proto/gen/hatoba/v1/types.js';
import { HatobaError } from '../errors.js';

/** Docker's names of the limits of setrlimit(2). */
const ULIMITS = [
  'as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc',
  'rss', 'rtprio', 'rttime', 'sigpending', 'stack',
] as const; // prettier-ignore
export type UlimitName = (typeof ULIMITS)[number];

/** @throws {HatobaError} invalid-argument for an unknown name, or soft above hard; -1 is unlimited */
export function checkUlimit({ name, soft, hard }: Ulimit): void {
  const known: readonly string[] = ULIMITS;
  if (!known.includes(name)) {
    throw new HatobaError(
      'invalid-argument',
      `"${name}" is not a ulimit; known are ${known.join(', ')}`,
    );
  }
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new HatobaError(
      'invalid-argument',
      `ulimit ${name}: the soft limit ${soft} is above the hard limit ${hard}`,
    );
  }
}
