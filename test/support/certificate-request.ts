import '../../common/reflect-metadata.js';
import { createPrivateKey, webcrypto, type KeyObject } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';

/** A certificate request (PKCS #10) of a new key, as a joining node makes one. */
export async function certificateRequest(
  subject: string,
  namedCurve = 'P-256',
): Promise<{ pem: string; privateKey: KeyObject }> {
  const algorithm = { name: 'ECDSA', namedCurve };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return {
    pem: request.toString('pem'),
    privateKey: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
  };
}
