import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger } from '../../../common/logger.js';
import { enrol, type EnrolOptions } from '../../../node-agent/session/enrol.js';
import { readIdentity, type AgentIdentity } from '../../../node-agent/session/identity.js';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { TestManager } from './test-manager.js';

describe('enrolment', () => {
  let manager: TestManager;
  let folder: string;
  const join1 = (
    changes: Partial<EnrolOptions> = {},
    signal?: AbortSignal,
  ): Promise<AgentIdentity> =>
    enrol(
      {
        managers: [manager.address],
        joinToken: manager.token,
        addresses: ['10.9.8.7'],
        pkiFolder: join(folder, 'pki'),
        ...changes,
      },
      { clock: systemClock, random: systemRandom, log: silentLogger },
      signal ?? new AbortController().signal,
    );

  before(async () => {
    manager = await TestManager.start();
  });
  after(() => manager[Symbol.asyncDispose]());
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ht-agent-enrol-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('makes a machine a node, and keeps its identity for itself', async () => {
    assert.equal(await readIdentity(join(folder, 'pki')), undefined);
    const identity = await join1();
    assert.equal(identity.role, NodeRole.WORKER);
    assert.equal(identity.clusterId, 'test-cluster');
    assert.deepEqual(await readIdentity(join(folder, 'pki')), identity);
    const certificate = new X509Certificate(identity.tls.certPem);
    assert.ok(certificate.verify(new X509Certificate(identity.tls.caPem).publicKey));
    assert.match(certificate.subjectAltName ?? '', /10\.9\.8\.7/);
    for (const name of await readdir(join(folder, 'pki'))) {
      assert.equal((await stat(join(folder, 'pki', name))).mode & 0o777, 0o600, name);
    }
  });

  it('does not trust a manager whose root is not that of the token', async () => {
    const [, , digest = '', secret = ''] = manager.token.split('-');
    const other = `${digest.startsWith('1') ? '2' : '1'}${digest.slice(1)}`;
    await assert.rejects(join1({ joinToken: `HTBTKN-1-${other}-${secret}` }), {
      kind: 'permission-denied',
      message: /is not the one of the join token/,
    });
    assert.deepEqual(await readdir(folder), []);
  });

  it('says when the secret is not (any more) right, and does not try again', async () => {
    const token = `${manager.token.slice(0, -1)}${manager.token.endsWith('0') ? '1' : '0'}`;
    await assert.rejects(join1({ joinToken: token }), { kind: 'permission-denied' });
  });

  it('says when the token is no token', async () => {
    await assert.rejects(join1({ joinToken: 'SWMTKN-1-a-b' }), { kind: 'invalid-argument' });
  });

  it('tries the next manager when one cannot be reached', async () => {
    await join1({ managers: ['127.0.0.1:1', manager.address] });
    assert.ok(await readIdentity(join(folder, 'pki')));
  });

  it('ends when told to', async () => {
    const stop = new AbortController();
    const joining = join1({ managers: ['127.0.0.1:1'] }, stop.signal);
    stop.abort();
    await assert.rejects(joining, { name: 'AbortError' });
  });

  it('refuses a certificate that is not a node of ours', async () => {
    const { writeIdentity } = await import('../../../node-agent/session/identity.js');
    const tls = await manager.issue(NodeRole.WORKER, 'n1');
    await writeIdentity(join(folder, 'pki'), tls);
    await writeFile(join(folder, 'pki/node.crt'), tls.caPem);
    await assert.rejects(readIdentity(join(folder, 'pki')), /not the certificate of a Hatoba node/);
  });
});
