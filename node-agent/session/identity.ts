import { X509Certificate } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, HatobaError } from '../../common/errors.js';
import {
  identityOfCertificate,
  type NodeIdentity,
  type TlsIdentity,
} from '../../proto/wire/tls.js';
import { replaceFile } from '../state/atomic-file.js';

/** This node, as its certificate says, with what it needs to prove it. */
export interface AgentIdentity extends NodeIdentity {
  readonly tls: TlsIdentity;
}

const FILES = { ca: 'ca.crt', cert: 'node.crt', key: 'node.key' } as const;

/**
 * Reads `<folder>/{ca.crt,node.crt,node.key}`.
 * @returns undefined when there is no certificate yet
 * @throws {HatobaError} failed-precondition when the certificate is not a node's
 */
export async function readIdentity(folder: string): Promise<AgentIdentity | undefined> {
  const path = join(folder, FILES.cert);
  try {
    const certPem = await readFile(path, 'utf8');
    const [caPem, keyPem] = await Promise.all([
      readFile(join(folder, FILES.ca), 'utf8'),
      readFile(join(folder, FILES.key), 'utf8'),
    ]);
    return toIdentity({ caPem, certPem, keyPem }, path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Keeps an identity, mode 0600; the certificate last, as its presence means that all is there. */
export async function writeIdentity(folder: string, tls: TlsIdentity): Promise<AgentIdentity> {
  const path = join(folder, FILES.cert);
  const identity = toIdentity(tls, path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await replaceFile(join(folder, FILES.ca), tls.caPem, { durable: true });
  await replaceFile(join(folder, FILES.key), tls.keyPem, { durable: true });
  await replaceFile(path, tls.certPem, { durable: true });
  return identity;
}

function toIdentity(tls: TlsIdentity, path: string): AgentIdentity {
  const subject = new X509Certificate(tls.certPem).toLegacyObject().subject;
  const identity = identityOfCertificate({ subject });
  if (identity !== undefined) return { ...identity, tls };
  throw new HatobaError(
    'failed-precondition',
    `${path} is not the certificate of a Hatoba node: remove the folder and join again`,
  );
}
