import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { errnoOf, HatobaError } from '../../common/errors.js';
import {
  identityOfCertificate,
  type NodeIdentity,
  type TlsIdentity,
} from '../../proto/wire/tls.js';

/** A node's identity as files: PEM, 0600, in a folder that only root enters. */
export interface IdentityFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** The files of a node whose state folder is `root`: `<root>/pki/{ca.crt,node.crt,node.key}`. */
export function identityFiles(root: string): IdentityFiles {
  const folder = join(root, 'pki');
  return {
    ca: join(folder, 'ca.crt'),
    certificate: join(folder, 'node.crt'),
    key: join(folder, 'node.key'),
  };
}

/** A node's identity, with what its certificate says. */
export type StoredIdentity = TlsIdentity & NodeIdentity;

/**
 * @returns undefined when the node has none yet
 * @throws {HatobaError} failed-precondition when the files are not a node's
 */
export async function readIdentity(files: IdentityFiles): Promise<StoredIdentity | undefined> {
  const certPem = await readOptional(files.certificate);
  if (certPem === undefined) return undefined;
  const [caPem, keyPem] = await Promise.all([readOptional(files.ca), readOptional(files.key)]);
  if (caPem === undefined || keyPem === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `${files.certificate} is there, but ${caPem === undefined ? files.ca : files.key} is missing`,
    );
  }
  return { caPem, certPem, keyPem, ...subjectOf(certPem, files.certificate) };
}

/** Writes all files; the certificate last, as its presence means that all are there. */
export async function writeIdentity(files: IdentityFiles, identity: TlsIdentity): Promise<void> {
  await writeSecret(files.ca, identity.caPem);
  await writeSecret(files.key, identity.keyPem);
  await writeSecret(files.certificate, identity.certPem);
}

/** Replaces a file in one step and makes it survive a loss of power; mode 0600, folder 0700. */
export async function writeSecret(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomUUID()}.new`;
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** A file's text, or undefined when it does not exist. */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function subjectOf(certPem: string, path: string): NodeIdentity {
  const identity = identityOfCertificate(new X509Certificate(certPem).toLegacyObject());
  if (identity !== undefined) return identity;
  throw new HatobaError('failed-precondition', `${path} is not the certificate of a Hatoba node`);
}
