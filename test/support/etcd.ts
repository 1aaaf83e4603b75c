import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../common/adapters/system-clock.js';
import { systemRandom } from '../../common/adapters/system-random.js';
import { silentLogger } from '../../common/logger.js';
import { startEtcd, type Etcd, type EtcdOptions } from '../../manager/etcd/etcd-process.js';
import { CertificateAuthority, createRootCa } from '../../manager/security/ca.js';
import { identityFiles, writeIdentity } from '../../manager/security/identity-files.js';
import { EtcdStore, type EtcdStoreOptions } from '../../manager/store/etcd-store.js';
import { NodeRole } from '../../proto/gen/hatoba/v1/types.js';
import { SERVER_NAMES, type TlsIdentity } from '../../proto/wire/tls.js';

/** A real etcd of a test under mTLS, in a folder of its own. */
export interface TestEtcd extends AsyncDisposable {
  etcd: Etcd;
  options: EtcdOptions;
  /** A manager's certificate and the CA it is of. */
  identity: TlsIdentity;
  ca: CertificateAuthority;
  folder: string;
  /** A client with a manager's certificate; the caller disposes it. */
  openStore(options?: Partial<EtcdStoreOptions>): EtcdStore;
}

const modules = { clock: systemClock, random: systemRandom, logger: silentLogger };

/** Starts etcd on free ports of 127.0.0.1; disposing leaves nothing. */
export async function startTestEtcd(): Promise<TestEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'ht-etcd-'));
  try {
    const root = await createRootCa('cluster', systemClock);
    const ca = await CertificateAuthority.load(root, systemClock);
    const identity = await ca.issue({
      nodeId: 'manager-1',
      clusterId: 'cluster',
      role: NodeRole.MANAGER,
      addresses: [],
    });
    const files = identityFiles(folder);
    await writeIdentity(files, identity);
    const options: EtcdOptions = {
      binary: 'etcd',
      name: 'manager-1',
      dataDir: join(folder, 'etcd'),
      pidFile: join(folder, 'etcd.pid'),
      logFile: join(folder, 'etcd.log'),
      clientPort: await freePort(),
      peerPort: await freePort(),
      advertiseAddress: '127.0.0.1',
      tls: { ...files, allowedName: SERVER_NAMES.manager },
    };
    const etcd = await startEtcd(options, modules);
    return {
      etcd,
      options,
      identity,
      ca,
      folder,
      openStore: (more) =>
        new EtcdStore({ endpoints: etcd.endpoints, tls: clientTls(identity), ...more }, modules),
      [Symbol.asyncDispose]: async () => {
        await etcd[Symbol.asyncDispose]();
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

export function clientTls(identity: TlsIdentity): NonNullable<EtcdStoreOptions['tls']> {
  return {
    ca: identity.caPem,
    certificate: identity.certPem,
    key: identity.keyPem,
    serverName: SERVER_NAMES.manager,
  };
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}
