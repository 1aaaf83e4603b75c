import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { systemClock } from '../../../../common/adapters/system-clock.js';
import { kindOf } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { caService } from '../../../../manager/rpc/ca-server.js';
import { createJoinTokens } from '../../../../manager/security/join-token.js';
import {
  CAClient,
  IssueNodeCertificateRequest,
  type IssueNodeCertificateResponse,
} from '../../../../proto/gen/hatoba/v1/ca.js';
import { NodeRole } from '../../../../proto/gen/hatoba/v1/types.js';
import { openClient, unary, type ChannelSecurity } from '../../../../proto/wire/client.js';
import { listenTls, type RpcServer } from '../../../../proto/wire/server.js';
import { identityOfCertificate, SERVER_NAMES } from '../../../../proto/wire/tls.js';
import { aCluster, aNode, snapshotOf } from '../../../support/builders.js';
import { certificateRequest } from '../../../support/certificate-request.js';
import { seededRandom } from '../../../support/seeded-random.js';
import { createTestCa, type TestCa } from '../../../support/tls-rig.js';

describe('CA service', () => {
  let ca: TestCa;
  let server: RpcServer;
  let request: Awaited<ReturnType<typeof certificateRequest>>;
  const clients: CAClient[] = [];
  const tokens = { worker: '', manager: '' };

  before(async () => {
    ca = await createTestCa('cluster');
    request = await certificateRequest('CN=whatever');
    Object.assign(tokens, createJoinTokens(ca.root.certificatePem, seededRandom(1)));
    const view = snapshotOf({
      cluster: aCluster({
        rootCaCertificatePem: ca.root.certificatePem,
        rootCaKeyPem: ca.root.keyPem,
        joinTokens: tokens,
      }),
      nodes: [aNode({ id: 'known' })],
    });
    const modules = { view, clock: systemClock, random: seededRandom(2), logger: silentLogger };
    server = await listenTls({
      services: [caService(modules)],
      host: '127.0.0.1',
      port: 0,
      identity: await ca.issue('m1', NodeRole.MANAGER),
      logger: silentLogger,
    });
  });
  after(async () => {
    for (const client of clients) client.close();
    await server[Symbol.asyncDispose]();
  });

  const client = (security: ChannelSecurity): CAClient => {
    const opened = openClient(CAClient, { address: `127.0.0.1:${server.port}`, security });
    clients.push(opened);
    return opened;
  };
  const stranger = (): CAClient =>
    client({ kind: 'tls', caPem: ca.root.certificatePem, serverName: SERVER_NAMES.manager });
  const node = async (nodeId: string, role: NodeRole): Promise<CAClient> => {
    const identity = await ca.issue(nodeId, role);
    return client({ kind: 'mtls', identity, serverName: SERVER_NAMES.manager });
  };
  const issue = (
    through: CAClient,
    fields: Partial<IssueNodeCertificateRequest>,
  ): Promise<IssueNodeCertificateResponse> =>
    unary(
      through.issueNodeCertificate.bind(through),
      IssueNodeCertificateRequest.fromPartial({ csrPem: request.pem, ...fields }),
    );

  it('shows its root certificate to anyone', async () => {
    const through = client({ kind: 'unverified' });
    const { certificatePem } = await unary(through.getRootCaCertificate.bind(through), {});
    assert.equal(certificatePem, ca.root.certificatePem);
  });

  it('makes a new node of the role that the token has', async () => {
    const ids = new Set<string>();
    for (const [field, role] of [
      ['worker', NodeRole.WORKER],
      ['manager', NodeRole.MANAGER],
    ] as const) {
      const answer = await issue(stranger(), { token: tokens[field], addresses: ['10.0.0.9'] });
      const certificate = new X509Certificate(answer.certificatePem);
      const { nodeId, clusterId } = answer;
      assert.deepEqual([answer.role, clusterId], [role, 'cluster']);
      assert.deepEqual(identityOfCertificate(certificate.toLegacyObject()), {
        nodeId,
        role,
        clusterId,
      });
      assert.equal(certificate.checkIP('10.0.0.9'), '10.0.0.9');
      assert.ok(certificate.checkPrivateKey(request.privateKey));
      assert.equal(answer.rootCaCertificatePem, ca.root.certificatePem);
      ids.add(nodeId);
    }
    assert.equal(ids.size, 2);
  });

  it('refuses tokens that are not valid, and no token without a certificate', async () => {
    await assert.rejects(
      issue(stranger(), { token: `${tokens.worker}x` }),
      (e) => kindOf(e) === 'permission-denied',
    );
    await assert.rejects(issue(stranger(), {}), (e) => kindOf(e) === 'unauthenticated');
  });

  it('renews for the node of the certificate: its id, its role', async () => {
    const answer = await issue(await node('known', NodeRole.WORKER), {});
    assert.deepEqual([answer.nodeId, answer.role], ['known', NodeRole.WORKER]);
    assert.ok(new X509Certificate(answer.certificatePem).checkPrivateKey(request.privateKey));
  });

  it('does not renew for a node that was removed', async () => {
    const gone = await node('gone', NodeRole.WORKER);
    await assert.rejects(issue(gone, {}), (e) => kindOf(e) === 'permission-denied');
  });

  it('refuses a request that is none', async () => {
    await assert.rejects(
      issue(stranger(), { token: tokens.worker, csrPem: 'x' }),
      (e) => kindOf(e) === 'invalid-argument',
    );
  });
});
