import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { HatobaError, wrapError } from '../../common/errors.js';
import type { ManagerConfig } from '../config.js';
import type { EtcdStoreOptions } from '../store/etcd-store.js';

const ETCD_PORT = 2379;

/**
 * How an etcd of others is reached: its endpoints, and for https the files that the configuration
 * names. Without etcdCa the CAs that Node trusts count.
 * @throws {HatobaError} invalid-argument for settings that do not go together; failed-precondition
 * for a file that cannot be read
 */
export async function externalEtcd(
  config: Pick<ManagerConfig, 'etcdEndpoints' | 'etcdCa' | 'etcdCert' | 'etcdKey'>,
): Promise<EtcdStoreOptions> {
  const { etcdCa, etcdCert, etcdKey } = config;
  const endpoints = config.etcdEndpoints.map(withPort);
  const secure = endpoints.filter((e) => e.startsWith('https://')).length;
  if (secure > 0 && secure < endpoints.length) {
    throw wrong('etcdEndpoints: either all begin with https://, or none');
  }
  if ((etcdCert === '') !== (etcdKey === '')) {
    throw wrong('etcdCert and etcdKey go together: give both, or none');
  }
  const hasFiles = etcdCa !== '' || etcdCert !== '';
  if (hasFiles && secure === 0) {
    throw wrong('etcdCa, etcdCert and etcdKey are for endpoints that begin with https://');
  }
  if (!hasFiles) return { endpoints };
  const [ca, certificate, key] = await Promise.all([
    readPem('etcdCa', etcdCa),
    readPem('etcdCert', etcdCert),
    readPem('etcdKey', etcdKey),
  ]);
  return { endpoints, tls: { ca: ca ?? rootCertificates.join('\n'), certificate, key } };
}

/** "http://etcd1/" → "http://etcd1:2379" */
function withPort(endpoint: string): string {
  const bare = endpoint.replace(/\/$/, '');
  return /:\d+$/.test(bare) ? bare : `${bare}:${ETCD_PORT}`;
}

/** @returns undefined where the setting names no file */
async function readPem(setting: string, path: string): Promise<string | undefined> {
  if (path === '') return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new HatobaError('failed-precondition', wrapError(error, setting).message);
  }
}

function wrong(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
