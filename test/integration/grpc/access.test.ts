import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { HatobaError, kindOf } from '../../../common/errors.js';
import { silentLogger, type Logger } from '../../../common/logger.js';
import { DispatcherClient, DispatcherService } from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { CAClient, CAService } from '../../../proto/gen/hatoba/v1/ca.js';
import { ControlClient, ControlService, SystemInfo } from '../../../proto/gen/hatoba/v1/control.js';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { localTarget, openClient, unary, type ChannelTarget } from '../../../proto/wire/client.js';
import { listenTls, listenUnix, type RpcServer } from '../../../proto/wire/server.js';
import {
  bindService,
  type Access,
  type AccessRules,
  type BoundService,
  type Implementation,
} from '../../../proto/wire/service.js';
import { createTestCa, type TestCa } from '../../support/tls-rig.js';

/** A service of which only the methods under test answer. */
function partly<S extends ServiceDefinition>(
  definition: S,
  methods: Partial<Implementation<S>>,
  access: Access,
): BoundService {
  const names = Object.keys(definition) as (keyof S)[];
  const refuse = (): never => {
    throw new HatobaError('unimplemented', 'not in this test');
  };
  const all = Object.fromEntries(names.map((n) => [n, methods[n] ?? refuse])) as Implementation<S>;
  const rules = Object.fromEntries(names.map((n) => [n, access])) as AccessRules<S>;
  return bindService(definition, all, rules);
}

const SERVICES = [
  partly(
    ControlService,
    {
      getSystemInfo: (_, { caller }) =>
        Promise.resolve(SystemInfo.fromPartial({ version: JSON.stringify(caller) })),
    },
    'operator',
  ),
  partly(
    DispatcherService,
    { heartbeat: (_, { caller }) => Promise.resolve({ periodMs: caller.kind === 'node' ? 1 : 0 }) },
    'node',
  ),
  partly(
    CAService,
    { getRootCaCertificate: () => Promise.resolve({ certificatePem: 'PEM' }) },
    'anyone',
  ),
];

describe('who may call what', () => {
  let folder: string;
  let ca: TestCa;
  let tls: RpcServer;
  let unix: RpcServer;
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };

  before(async () => {
    folder = await mkdtemp('/tmp/ht-grpc-');
    ca = await createTestCa();
    const identity = await ca.issue('m1', NodeRole.MANAGER);
    tls = await listenTls({ host: '127.0.0.1', port: 0, identity, services: SERVICES, logger });
    unix = await listenUnix({ path: join(folder, 'm.sock'), services: SERVICES, logger });
  });
  after(async () => {
    await tls[Symbol.asyncDispose]();
    await unix[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** How each of the three services answers: "ok" or the kind of error. */
  async function tryAll(target: ChannelTarget): Promise<string[]> {
    const control = openClient(ControlClient, target);
    const dispatcher = openClient(DispatcherClient, target);
    const authority = openClient(CAClient, target);
    const calls = [
      unary(control.getSystemInfo.bind(control), {}),
      unary(dispatcher.heartbeat.bind(dispatcher), { sessionId: '', appliedNetworkRevision: 0 }),
      unary(authority.getRootCaCertificate.bind(authority), {}),
    ];
    const results = await Promise.all(
      calls.map((call) => (call as Promise<unknown>).then(() => 'ok', kindOf)),
    );
    for (const client of [control, dispatcher, authority]) client.close();
    return results;
  }

  async function asNode(role: NodeRole, by = ca, serverName = 'hatoba-manager'): Promise<string[]> {
    const identity = { ...(await by.issue('n1', role)), caPem: ca.root.certificatePem };
    return tryAll({
      address: `127.0.0.1:${tls.port}`,
      security: { kind: 'mtls', identity, serverName },
    });
  }

  it('without a certificate: the CA alone', async () => {
    const address = `127.0.0.1:${tls.port}`;
    const caPem = ca.root.certificatePem;
    const expected = ['unauthenticated', 'unauthenticated', 'ok'];
    const security = { kind: 'tls', caPem, serverName: 'hatoba-manager' } as const;
    assert.deepEqual(await tryAll({ address, security }), expected);
    assert.deepEqual(await tryAll({ address, security: { kind: 'unverified' } }), expected);
  });

  it('a worker: dispatcher and CA', async () => {
    assert.deepEqual(await asNode(NodeRole.WORKER), ['permission-denied', 'ok', 'ok']);
  });

  it('a manager: everything', async () => {
    assert.deepEqual(await asNode(NodeRole.MANAGER), ['ok', 'ok', 'ok']);
  });

  it('the local socket: control, not the dispatcher', async () => {
    const target = localTarget(join(folder, 'm.sock'));
    assert.deepEqual(await tryAll(target), ['ok', 'permission-denied', 'ok']);
  });

  it('a certificate of another CA: nothing, and the log says so', async () => {
    const foreign = await createTestCa();
    const unavailable = ['unavailable', 'unavailable', 'unavailable'];
    assert.deepEqual(await asNode(NodeRole.MANAGER, foreign), unavailable);
    assert.ok(warnings.includes('Refused certificate'));
  });

  it('a server of another name or CA: the client turns away', async () => {
    const unavailable = ['unavailable', 'unavailable', 'unavailable'];
    assert.deepEqual(await asNode(NodeRole.MANAGER, ca, 'other-node'), unavailable);
    const identity = await (await createTestCa()).issue('n1', NodeRole.MANAGER);
    const security = { kind: 'mtls', identity, serverName: 'hatoba-manager' } as const;
    assert.deepEqual(await tryAll({ address: `127.0.0.1:${tls.port}`, security }), unavailable);
  });

  it('the caller is who its certificate says', async () => {
    const identity = await ca.issue('n7', NodeRole.MANAGER);
    const control = openClient(ControlClient, {
      address: `127.0.0.1:${tls.port}`,
      security: { kind: 'mtls', identity, serverName: 'm1' },
    });
    const { version } = await unary(control.getSystemInfo.bind(control), {});
    control.close();
    assert.deepEqual(JSON.parse(version), {
      kind: 'node',
      nodeId: 'n7',
      role: NodeRole.MANAGER,
      clusterId: 'cluster',
    });
  });

  describe('the unix socket', () => {
    it('is for its owner and group alone', async () => {
      assert.equal((await stat(join(folder, 'm.sock'))).mode & 0o777, 0o660);
    });

    it('is not taken from a process that listens on it', async () => {
      const second = listenUnix({ path: join(folder, 'm.sock'), services: SERVICES, logger });
      await assert.rejects(second, { kind: 'failed-precondition' });
      assert.equal((await tryAll(localTarget(join(folder, 'm.sock'))))[0], 'ok');
    });

    it('replaces one that a killed process left', async () => {
      const path = join(folder, 'stale.sock');
      const dead = createServer();
      await new Promise<void>((resolve) => dead.listen({ path }, resolve));
      // Closing removes the file; a hard link keeps it, as a kill would.
      const { link } = await import('node:fs/promises');
      await link(path, `${path}.kept`);
      await new Promise((resolve) => dead.close(resolve));
      await link(`${path}.kept`, path);
      const server = await listenUnix({ path, services: SERVICES, logger });
      assert.equal((await tryAll(localTarget(path)))[0], 'ok');
      await server[Symbol.asyncDispose]();
    });
  });

  it('an unreachable server is named in the error', async () => {
    const control = openClient(ControlClient, localTarget('/tmp/ht-no-such.sock'));
    await assert.rejects(unary(control.getSystemInfo.bind(control), {}), {
      kind: 'unavailable',
      message: /^unix:\/tmp\/ht-no-such\.sock cannot be reached: .*ENOENT/,
    });
    control.close();
  });
});
