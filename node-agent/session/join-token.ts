import { createHash, X509Certificate } from 'node:crypto';
import { HatobaError } from '../../common/errors.js';

const FORM = /^HTBTKN-1-([0-9a-z]{1,50})-([0-9a-z]{1,64})$/;

/**
 * The digest in a join token "HTBTKN-1-<digest>-<secret>": SHA-256 of the root certificate's DER as
 * a base-36 number.
 * @throws {HatobaError} invalid-argument
 */
export function caDigestOfToken(token: string): bigint {
  const digits = FORM.exec(token)?.[1];
  if (digits === undefined) {
    throw new HatobaError(
      'invalid-argument',
      'the join token is not of the form HTBTKN-1-DIGEST-SECRET: ask a manager for it with "hatoba token show worker"',
    );
  }
  let value = 0n;
  for (const digit of digits) value = value * 36n + BigInt(parseInt(digit, 36));
  return value;
}

/**
 * Whether a certificate is the root that the token speaks of.
 * @throws {HatobaError} permission-denied when it is not: somebody else answers at the address
 */
export function checkRootCertificate(caPem: string, token: string, address: string): void {
  const der = new X509Certificate(caPem).raw;
  const digest = BigInt(`0x${createHash('sha256').update(der).digest('hex')}`);
  if (digest === caDigestOfToken(token)) return;
  throw new HatobaError(
    'permission-denied',
    `the root certificate of ${address} is not the one of the join token: this is another cluster, or somebody between`,
  );
}
