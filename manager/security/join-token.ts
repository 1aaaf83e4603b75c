import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import type { Cluster } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import { NodeRole, type JoinTokens } from '../../proto/gen/hatoba/v1/types.js';

/** "Hatoba token", version 1. */
const PREFIX = 'HTBTKN-1';
const DIGEST_DIGITS = 50; // 256 bits
const SECRET_BYTES = 16;
const SECRET_DIGITS = 25; // 128 bits

/**
 * A new token "HTBTKN-1-<digest>-<secret>": the SHA-256 of the root certificate's DER, by which the
 * joining machine knows the cluster, and a secret, by which the cluster knows the machine; both as
 * base-36 numbers.
 */
export function createJoinToken(rootCaPem: string, random: Random): string {
  const secret = base36(random.bytes(SECRET_BYTES), SECRET_DIGITS);
  return `${PREFIX}-${caDigest(rootCaPem)}-${secret}`;
}

/** The digest in the tokens of a cluster. */
export function caDigest(rootCaPem: string): string {
  const der = new X509Certificate(rootCaPem).raw;
  return base36(createHash('sha256').update(der).digest(), DIGEST_DIGITS);
}

export function createJoinTokens(rootCaPem: string, random: Random): JoinTokens {
  return {
    worker: createJoinToken(rootCaPem, random),
    manager: createJoinToken(rootCaPem, random),
  };
}

/** The cluster with a new token for one role: the former one lets nobody in any more. */
export function rotateJoinToken(cluster: Cluster, role: NodeRole, random: Random): Cluster {
  const token = createJoinToken(cluster.rootCaCertificatePem, random);
  const field = role === NodeRole.MANAGER ? 'manager' : 'worker';
  return { ...cluster, joinTokens: { ...cluster.joinTokens, [field]: token } };
}

/** The role that a token lets a machine have, or undefined for a token that is not valid (now). */
export function roleOfToken(tokens: JoinTokens, token: string): NodeRole | undefined {
  if (isSame(tokens.manager, token)) return NodeRole.MANAGER;
  if (isSame(tokens.worker, token)) return NodeRole.WORKER;
  return undefined;
}

/** In a time that says nothing about where two texts differ. */
function isSame(expected: string, given: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return expected !== '' && timingSafeEqual(hash(expected), hash(given));
}

function base36(bytes: Uint8Array, digits: number): string {
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  return value.toString(36).padStart(digits, '0');
}
