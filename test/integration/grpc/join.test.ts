import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { silentLogger } from '../../../common/logger.js';
import { AssignmentModel } from '../../../manager/core/assignments/assignment-model.js';
import { caService } from '../../../manager/rpc/ca-server.js';
import { probeHost } from '../../../manager/rpc/host-probe.js';
import { DispatcherServer } from '../../../manager/rpc/dispatcher-server.js';
import { createJoinTokens } from '../../../manager/security/join-token.js';
import { enrol } from '../../../node-agent/session/enrol.js';
import {
  AssignmentsType,
  DispatcherClient,
  SessionRequest,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { NodeRole, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { openClient, readStream, unary } from '../../../proto/wire/client.js';
import { listenTls, type RpcServer } from '../../../proto/wire/server.js';
import { identityOfCertificate, type TlsIdentity } from '../../../proto/wire/tls.js';
import { aCluster, aTask } from '../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../support/cluster-rig.js';
import { eventually } from '../../support/eventually.js';
import { createTestCa } from '../../support/tls-rig.js';

describe('joining a cluster over TLS', () => {
  let folder: string;
  let rig: ClusterRig;
  let server: RpcServer;
  let dispatcher: AsyncDisposable;
  let tokens: { worker: string; manager: string };
  const never = new AbortController().signal;

  beforeEach(async () => {
    folder = await mkdtemp('/tmp/ht-join-');
    rig = await createClusterRig();
    const ca = await createTestCa();
    const { certificatePem, keyPem } = ca.root;
    tokens = createJoinTokens(certificatePem, systemRandom);
    await rig.put(
      'cluster',
      aCluster({
        ...{ rootCaCertificatePem: certificatePem, rootCaKeyPem: keyPem, joinTokens: tokens },
        spec: { heartbeatPeriodMs: 3_600_000 }, // nobody is given up here
      }),
    );
    const cluster = { ...rig, clock: systemClock };
    const own = { nodeId: 'm1', address: '127.0.0.1:4400' };
    const modules = {
      random: systemRandom,
      logger: silentLogger,
      probe: probeHost,
      onSession: () => undefined,
    };
    const agents = new DispatcherServer({ cluster, own, model: new AssignmentModel(), ...modules });
    dispatcher = agents;
    server = await listenTls({
      host: '127.0.0.1',
      port: 0,
      identity: await ca.issue('m1', NodeRole.MANAGER),
      services: [caService({ view: rig.view, clock: systemClock, ...modules }), agents.service()],
      logger: silentLogger,
    });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await dispatcher[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function joinWith(joinToken: string): Promise<TlsIdentity> {
    const pkiFolder = join(folder, 'pki');
    const managers = [`127.0.0.1:${server.port}`];
    const options = { managers, joinToken, addresses: ['127.0.0.1'], pkiFolder };
    const modules = { clock: systemClock, random: systemRandom, log: silentLogger };
    await enrol(options, modules, never);
    const [caPem, certPem, keyPem] = await Promise.all(
      ['ca.crt', 'node.crt', 'node.key'].map((file) => readFile(join(pkiFolder, file), 'utf8')),
    );
    assert.ok(caPem !== undefined && certPem !== undefined && keyPem !== undefined);
    assert.equal((await stat(join(pkiFolder, 'node.key'))).mode & 0o077, 0);
    return { caPem, certPem, keyPem };
  }

  function connect(identity: TlsIdentity): DispatcherClient {
    const security = { kind: 'mtls', identity, serverName: 'hatoba-manager' } as const;
    return openClient(DispatcherClient, { address: `127.0.0.1:${server.port}`, security });
  }

  const hello = SessionRequest.fromPartial({
    description: { hostname: 'w', agentAddress: '10.0.0.2:4402', dataPathAddress: '10.0.0.2' },
  });

  it('a token makes a node, whose certificate opens a session and brings its tasks', async () => {
    const client = connect(await joinWith(tokens.worker));
    const session = readStream(client.session(hello));
    const first = (await session.next()).value;
    assert.ok(first?.node !== undefined);
    assert.equal(first.node.spec?.role, NodeRole.WORKER);
    assert.equal(first.node.index, 1);
    const nodeId = first.node.id;

    const { sessionId } = first;
    const assignments = readStream(client.assignments({ sessionId }));
    assert.equal((await assignments.next()).value?.type, AssignmentsType.COMPLETE);
    const status = { state: TaskState.ASSIGNED };
    await rig.put('task', aTask({ id: 't1', nodeId, status }), aTask({ id: 't2', slot: 2 }));
    const step = (await assignments.next()).value;
    assert.deepEqual(
      step?.changes.flatMap((c) => (c.item?.$case === 'task' ? [c.item.value.id] : [])),
      ['t1'],
    );

    const running = { ...aTask().status, state: TaskState.RUNNING };
    const updates = [{ taskId: 't1', status: running }];
    await unary(client.updateTaskStatus.bind(client), { sessionId, updates });
    assert.equal(rig.view.task('t1')?.status.state, TaskState.RUNNING);
    await assignments.return();
    await session.return();
    client.close();
  });

  it('a manager token gives a manager’s certificate', async () => {
    const { certPem } = await joinWith(tokens.manager);
    const { X509Certificate } = await import('node:crypto');
    const identity = identityOfCertificate(new X509Certificate(certPem).toLegacyObject());
    assert.equal(identity?.role, NodeRole.MANAGER);
  });

  it('a wrong secret is refused', async () => {
    await assert.rejects(joinWith(`${tokens.worker.slice(0, -3)}zzz`), {
      kind: 'permission-denied',
    });
  });

  it('a token of another cluster is refused before anything is sent', async () => {
    const other = createJoinTokens((await createTestCa()).root.certificatePem, systemRandom);
    await assert.rejects(joinWith(other.worker), /token|certificate/);
    assert.deepEqual([...rig.view.nodes()], []);
  });

  it('streams of a manager that stops end as unavailable', async () => {
    const client = connect(await joinWith(tokens.worker));
    const session = readStream(client.session(hello));
    await session.next();
    const ending = assert.rejects(session.next(), { kind: 'unavailable' });
    await server[Symbol.asyncDispose]();
    await eventually(() => ending);
    client.close();
  });
});
