import assert from 'node:assert/strict';
import { parseCidr } from '../../../../overlay-net/core/ipam.js';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { kindOf } from '../../../../common/errors.js';
import { bootstrapCluster, prepareIdentity } from '../../../../manager/bootstrap.js';
import {
  CertificateAuthority,
  createRootCa,
  type CaKeyPair,
} from '../../../../manager/security/ca.js';
import { identityFiles, readIdentity } from '../../../../manager/security/identity-files.js';
import {
  createJoinTokens,
  roleOfToken,
  rotateJoinToken,
} from '../../../../manager/security/join-token.js';
import { isRenewalDue, renewManagerIdentity } from '../../../../manager/security/renewal.js';
import { MemoryStore } from '../../../../manager/store/memory-store.js';
import { NodeRole } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  identityOfCertificate,
  SERVER_NAMES,
  type TlsIdentity,
} from '../../../../proto/wire/tls.js';
import { aCluster } from '../../../support/builders.js';
import { certificateRequest } from '../../../support/certificate-request.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

const DAY_MS = 86_400_000;
const clock = new FakeClock(Date.now());

describe('CertificateAuthority', () => {
  let root: CaKeyPair;
  let ca: CertificateAuthority;
  const worker = { nodeId: 'w1', clusterId: 'c1', role: NodeRole.WORKER, addresses: ['10.0.0.7'] };
  const manager = { ...worker, nodeId: 'm1', role: NodeRole.MANAGER };

  before(async () => {
    root = await createRootCa('c1', clock);
    ca = await CertificateAuthority.load(root, clock);
  });

  it('is a root of 20 years that signs nothing but nodes', () => {
    const certificate = new X509Certificate(root.certificatePem);
    assert.equal(certificate.ca, true);
    assert.ok(certificate.verify(certificate.publicKey));
    const years = (Date.parse(certificate.validTo) - clock.nowMs()) / DAY_MS / 365.25;
    assert.ok(Math.abs(years - 20) < 0.1, `${years} years`);
  });

  it('writes id, role and cluster into the subject, and the names of the role', async () => {
    for (const subject of [worker, manager]) {
      const { certPem } = await ca.issue(subject);
      const certificate = new X509Certificate(certPem);
      assert.ok(certificate.verify(new X509Certificate(root.certificatePem).publicKey));
      const { nodeId, role, clusterId } = subject;
      const identity = identityOfCertificate(certificate.toLegacyObject());
      assert.deepEqual(identity, { nodeId, role, clusterId });
      assert.equal(certificate.checkHost(SERVER_NAMES.agent), SERVER_NAMES.agent);
      assert.equal(certificate.checkHost(nodeId), nodeId);
      const isManager = role === NodeRole.MANAGER;
      assert.equal(certificate.checkHost(SERVER_NAMES.manager) !== undefined, isManager);
      assert.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1');
      assert.equal(certificate.checkIP('10.0.0.7'), '10.0.0.7');
      assert.equal(certificate.ca, false);
      const days = (Date.parse(certificate.validTo) - clock.nowMs()) / DAY_MS;
      assert.ok(Math.abs(days - 90) < 1, `${days} days`);
    }
  });

  it('signs the key of a request, and takes nothing else from it', async () => {
    const request = await certificateRequest('CN=m1, OU=hatoba-manager, O=c1');
    const certificate = new X509Certificate(await ca.issueForRequest(request.pem, worker));
    assert.equal(identityOfCertificate(certificate.toLegacyObject())?.role, NodeRole.WORKER);
    assert.equal(certificate.checkPrivateKey(request.privateKey), true);
    assert.equal(certificate.checkHost(SERVER_NAMES.manager), undefined);
  });

  it('refuses requests that are none, not signed by their key, or of another kind of key', async () => {
    const good = await certificateRequest('CN=x');
    const lines = good.pem.trim().split('\n');
    const der = Buffer.from(lines.slice(1, -1).join(''), 'base64');
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    const forged = [lines[0], der.toString('base64'), lines.at(-1)].join('\n');
    const p384 = await certificateRequest('CN=x', 'P-384');
    for (const bad of ['', 'x'.repeat(10_000), forged, p384.pem]) {
      await assert.rejects(
        ca.issueForRequest(bad, worker),
        (e) => kindOf(e) === 'invalid-argument',
      );
    }
  });

  it('refuses addresses that are names, and too many', async () => {
    for (const addresses of [['hatoba-manager'], Array.from({ length: 17 }, () => '10.0.0.1')]) {
      await assert.rejects(
        ca.issue({ ...worker, addresses }),
        (e) => kindOf(e) === 'invalid-argument',
      );
    }
  });

  it('makes certificates that both ends of a TLS 1.3 connection accept', async () => {
    const server = await ca.issue(manager);
    const client = await ca.issue(worker);
    assert.deepEqual(await handshake(server, client, SERVER_NAMES.manager), ['m1', 'w1']);
    await assert.rejects(handshake(client, server, SERVER_NAMES.manager), /hatoba-manager/);
    const other = await CertificateAuthority.load(await createRootCa('c1', clock), clock);
    const stranger = { ...(await other.issue(worker)), caPem: root.certificatePem };
    await assert.rejects(handshake(server, stranger, SERVER_NAMES.manager));
  });
});

/** @returns the common names that client and server saw of each other */
function handshake(
  server: TlsIdentity,
  client: TlsIdentity,
  servername: string,
): Promise<[string, string]> {
  const options = ({ caPem: ca, certPem: cert, keyPem: key }: TlsIdentity) => ({ ca, cert, key });
  return new Promise((resolve, reject) => {
    let seenByClient = '';
    const listener = createServer(
      { ...options(server), requestCert: true, minVersion: 'TLSv1.3' },
      (socket) => {
        const seen = socket.getPeerCertificate().subject.CN;
        socket.end(() => settle(() => resolve([seenByClient, String(seen)])));
      },
    );
    const settle = (run: () => void): void => {
      listener.close();
      run();
    };
    listener.on('tlsClientError', (error: Error) => settle(() => reject(error)));
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
      const socket = connect({ ...options(client), host: '127.0.0.1', port, servername }, () => {
        seenByClient = String(socket.getPeerCertificate().subject.CN);
        socket.resume();
      });
      socket.on('error', (error: Error) => settle(() => reject(error)));
    });
  });
}

describe('join tokens', () => {
  let rootPem = '';
  before(async () => {
    rootPem = (await createRootCa('c1', clock)).certificatePem;
  });

  it('carry the digest of the root certificate and a secret', () => {
    const { worker, manager } = createJoinTokens(rootPem, seededRandom(1));
    const digest = createHash('sha256').update(new X509Certificate(rootPem).raw).digest('hex');
    for (const token of [worker, manager]) {
      const [prefix, version, base36, secret] = token.split('-');
      assert.deepEqual([prefix, version], ['HTBTKN', '1']);
      const value = Array.from(base36 ?? '').reduce(
        (n, d) => n * 36n + BigInt(parseInt(d, 36)),
        0n,
      );
      assert.equal(value, BigInt(`0x${digest}`));
      assert.match(secret ?? '', /^[0-9a-z]{25}$/);
    }
    assert.notEqual(worker, manager);
  });

  it('give the role of their field, until they are rotated', () => {
    const cluster = aCluster({
      rootCaCertificatePem: rootPem,
      joinTokens: createJoinTokens(rootPem, seededRandom(1)),
    });
    const { worker, manager } = cluster.joinTokens;
    assert.equal(roleOfToken(cluster.joinTokens, worker), NodeRole.WORKER);
    assert.equal(roleOfToken(cluster.joinTokens, manager), NodeRole.MANAGER);
    for (const bad of ['', worker.slice(0, -1), `${worker}0`, worker.toUpperCase()]) {
      assert.equal(roleOfToken(cluster.joinTokens, bad), undefined);
    }
    const rotated = rotateJoinToken(cluster, NodeRole.WORKER, seededRandom(2)).joinTokens;
    assert.equal(roleOfToken(rotated, worker), undefined);
    assert.equal(roleOfToken(rotated, rotated.worker), NodeRole.WORKER);
    assert.equal(rotated.manager, manager);
    assert.equal(roleOfToken({ worker: '', manager: '' }, ''), undefined);
  });
});

describe('the first start', () => {
  let folder: string;
  let store: MemoryStore;
  const modules = { clock, random: seededRandom(1) };
  const options = (): Parameters<typeof bootstrapCluster>[2] => ({
    root: folder,
    defaultAddressPools: ['10.128.0.0/9'],
    subnetSize: 24,
    dataPathPort: 4789,
    networkWaitMs: 5000,
    hostRoutes: () => Promise.resolve([{ subnet: parseCidr('10.130.0.0/16'), link: 'eth0' }]),
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ht-boot-'));
    store = new MemoryStore({ clock });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('makes identity, cluster and predefined networks, and keeps no CA key on the disk', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    const cluster = await bootstrapCluster(store, identity, options(), modules);
    assert.equal(cluster.id, identity.clusterId);
    assert.equal(cluster.rootCaCertificatePem, identity.caPem);
    const { entries } = await store.list('/');
    assert.deepEqual(
      entries.map((e) => e.key),
      [
        '/hatoba/v1/cluster/default',
        ...['host', 'ingress', 'none'].map((name) => `/hatoba/v1/name/network/${name}`),
        ...['host', 'ingress', 'none'].map((name) => `/hatoba/v1/network/${name}`),
      ],
    );
    assert.deepEqual(await readdir(join(folder, 'manager')), []);
    assert.deepEqual((await readdir(join(folder, 'pki'))).sort(), [
      'ca.crt',
      'node.crt',
      'node.key',
    ]);
    assert.equal((await stat(identityFiles(folder).key)).mode & 0o777, 0o600);
    const ca = await CertificateAuthority.load(
      { certificatePem: cluster.rootCaCertificatePem, keyPem: cluster.rootCaKeyPem },
      clock,
    );
    assert.equal(ca.certificatePem.trim(), identity.caPem.trim());
  });

  it('changes nothing when it comes again', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    const cluster = await bootstrapCluster(store, identity, options(), modules);
    const again = await prepareIdentity(folder, '10.0.0.1', modules);
    assert.deepEqual(again, identity);
    assert.deepEqual(await bootstrapCluster(store, again, options(), modules), cluster);
  });

  it('adds the predefined networks that a cluster of an older version lacks', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    await bootstrapCluster(store, identity, options(), modules);
    const before = await store.list('/');
    const deletes = ['name/network/host', 'network/host'].map((key) => `/hatoba/v1/${key}`);
    await store.commit({ guards: [], puts: [], deletes });
    await bootstrapCluster(store, identity, options(), modules);
    const after = await store.list('/');
    assert.deepEqual(
      after.entries.map((e) => e.key),
      before.entries.map((e) => e.key),
    );
  });

  it('refuses address pools that lead elsewhere, before anything is stored', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    const defaultAddressPools = ['10.128.0.0/10', '10.129.0.0/16'];
    await assert.rejects(
      bootstrapCluster(store, identity, { ...options(), defaultAddressPools }, modules),
      {
        kind: 'invalid-argument',
        message: /\(eth0\)[^]*10\.129\.0\.0\/16 overlaps address pool 10\.128/,
      },
    );
    assert.deepEqual((await store.list('/')).entries, []);
  });

  it('goes on after a lost answer, and after a crash before the cluster was stored', async () => {
    let faults: ('lost' | 'applied')[] = ['lost', 'applied'];
    const faulty = new MemoryStore({ clock }, { commitFault: () => faults.shift() ?? 'none' });
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    await assert.rejects(
      bootstrapCluster(faulty, identity, options(), modules),
      (e) => kindOf(e) === 'unavailable',
    );
    const cluster = await bootstrapCluster(faulty, identity, options(), modules);
    assert.equal(cluster.id, identity.clusterId);
    faults = [];
    assert.equal((await faulty.list('/')).entries.length, 7);
  });

  it('makes one cluster of two rivals, and tells the other to join', async () => {
    const rival = await mkdtemp(join(tmpdir(), 'ht-boot-'));
    try {
      const roots = [folder, rival];
      const outcomes = await Promise.allSettled(
        roots.map(async (root) => {
          const identity = await prepareIdentity(root, '10.0.0.1', modules);
          return bootstrapCluster(store, identity, { ...options(), root }, modules);
        }),
      );
      assert.deepEqual(outcomes.map((o) => o.status).sort(), ['fulfilled', 'rejected']);
      const rejected = outcomes.find((o) => o.status === 'rejected');
      assert.equal(kindOf(rejected?.reason), 'failed-precondition');
      assert.equal((await store.list('/')).entries.length, 7);
    } finally {
      await rm(rival, { recursive: true, force: true });
    }
  });

  it('refuses an empty etcd under a manager that had a cluster', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    await bootstrapCluster(store, identity, options(), modules);
    const empty = new MemoryStore({ clock });
    await assert.rejects(bootstrapCluster(empty, identity, options(), modules), /etcd is empty/);
  });

  it('refuses an identity that is damaged', async () => {
    await prepareIdentity(folder, '10.0.0.1', modules);
    await rm(identityFiles(folder).key);
    await assert.rejects(readIdentity(identityFiles(folder)), /node.key is missing/);
    await writeFile(identityFiles(folder).key, '');
    await writeFile(
      identityFiles(folder).certificate,
      (await createRootCa('x', clock)).certificatePem,
    );
    await assert.rejects(
      readIdentity(identityFiles(folder)),
      /not the certificate of a Hatoba node/,
    );
  });

  it('renews its certificate in its second half, or for a new address', async () => {
    const identity = await prepareIdentity(folder, '10.0.0.1', modules);
    const cluster = await bootstrapCluster(store, identity, options(), modules);
    const files = identityFiles(folder);
    const renew = (advertiseAddress: string, at = clock): Promise<TlsIdentity> =>
      renewManagerIdentity(identity, files, { cluster, advertiseAddress }, at);
    assert.equal(isRenewalDue(identity.certPem, clock.nowMs() + 44 * DAY_MS), false);
    assert.equal(await renew('10.0.0.1'), identity);
    const later = new FakeClock(clock.nowMs() + 46 * DAY_MS);
    for (const again of [() => renew('10.0.0.1', later), () => renew('10.0.0.2')]) {
      const next = await again();
      assert.notEqual(next.certPem, identity.certPem);
      const stored = await readIdentity(files);
      assert.deepEqual([stored?.certPem, stored?.nodeId], [next.certPem, identity.nodeId]);
    }
  });
});
