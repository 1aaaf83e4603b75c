import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { sleep, type Clock } from '../../common/clock.js';
import { describeError, HatobaError, wrapError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { ManagerConfig } from '../config.js';
import { EtcdStore, type EtcdStoreOptions } from '../store/etcd-store.js';

const ETCD_PORT = 2379;
/** At the boot of a machine etcd may come a little later than its manager. */
const WAIT_MS = 5000;
const PROBE_EVERY_MS = 250;

/**
 * A store in the etcd that the configuration names, once that answers.
 * @throws {HatobaError} as `externalEtcd`; unavailable when it does not answer within some seconds
 * @throws the signal's reason
 */
export async function openExternalStore(
  config: ExternalEtcdSettings,
  modules: { clock: Clock; random: Random; logger: Logger },
  signal: AbortSignal,
): Promise<EtcdStore> {
  const options = await externalEtcd(config);
  const store = new EtcdStore(options, modules);
  const endpoints = options.endpoints.join(', ');
  const { clock, logger } = modules;
  const deadlineMs = clock.nowMs() + WAIT_MS;
  try {
    for (let isFirst = true; ; isFirst = false) {
      const failure = await store.checkHealth().then(() => undefined, describeError);
      if (failure === undefined) return store;
      if (clock.nowMs() >= deadlineMs) {
        throw new HatobaError('unavailable', `etcd at ${endpoints} does not answer: ${failure}`);
      }
      if (isFirst) logger.info('Waiting for etcd', { endpoints, failure });
      await sleep(clock, PROBE_EVERY_MS, signal);
    }
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

export type ExternalEtcdSettings = Pick<
  ManagerConfig,
  'etcdEndpoints' | 'etcdCa' | 'etcdCert' | 'etcdKey'
>;

/**
 * How an etcd of others is reached: its endpoints, and for https the files that the configuration
 * names. Without etcdCa the CAs that Node trusts count.
 * @throws {HatobaError} invalid-argument for settings that do not go together; failed-precondition
 * for a file that cannot be read
 */
export async function externalEtcd(config: ExternalEtcdSettings): Promise<EtcdStoreOptions> {
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
