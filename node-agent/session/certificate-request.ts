import { sign, type KeyObject } from 'node:crypto';

/** DER tags of X.690 that a certificate request uses. */
const TAG = {
  integer: 0x02,
  bitString: 0x03,
  oid: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  attributes: 0xa0,
} as const;

const OID_COMMON_NAME = Buffer.from([0x55, 0x04, 0x03]); // 2.5.4.3
const OID_ECDSA_SHA256 = Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]); // 1.2.840.10045.4.3.2

/**
 * A PKCS #10 request (RFC 2986) for an ECDSA key, signed with SHA-256, as PEM. It proves the key;
 * the subject is only a word for people, as the CA decides what the certificate says.
 */
export function createCertificateRequest(
  keys: { privateKey: KeyObject; publicKey: KeyObject },
  commonName: string,
): string {
  const body = der(
    TAG.sequence,
    der(TAG.integer, Buffer.from([0])),
    subject(commonName),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    der(TAG.attributes),
  );
  const signature = sign('sha256', body, keys.privateKey);
  const request = der(
    TAG.sequence,
    body,
    der(TAG.sequence, der(TAG.oid, OID_ECDSA_SHA256)),
    der(TAG.bitString, Buffer.from([0]), signature),
  );
  const lines = request.toString('base64').match(/.{1,64}/g) ?? [];
  return [
    '-----BEGIN CERTIFICATE REQUEST-----',
    ...lines,
    '-----END CERTIFICATE REQUEST-----',
    '',
  ].join('\n');
}

function subject(commonName: string): Buffer {
  const value = der(TAG.utf8String, Buffer.from(commonName, 'utf8'));
  const attribute = der(TAG.sequence, der(TAG.oid, OID_COMMON_NAME), value);
  return der(TAG.sequence, der(TAG.set, attribute));
}

/** One element: tag, length, content. */
function der(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const hex = body.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, body]);
}
