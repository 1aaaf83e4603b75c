import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Client, type ServiceDefinition } from '@grpc/grpc-js';
import { silentLogger } from '../../../common/logger.js';
import type { EngineMethodsModules } from '../../../node-agent/local/engine-methods.js';
import { engineService } from '../../../node-agent/local/engine-server.js';
import { AgentService } from '../../../proto/gen/hatoba/v1/agent.js';
import { EngineService } from '../../../proto/gen/hatoba/v1/engine.js';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { createChannelOptions, type ChannelTarget } from '../../../proto/wire/client.js';
import { listenTls, type RpcServer } from '../../../proto/wire/server.js';
import { fromServiceError } from '../../../proto/wire/status.js';
import type { TlsIdentity } from '../../../proto/wire/tls.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { createTestCa } from '../../support/tls-rig.js';
import { AgentHost } from './agent-host.js';
import { TestManager } from './test-manager.js';

const SERVER_NAME = 'hatoba-agent';

/** How each method of a service answers an empty message: "ok" or the kind of error. */
async function tryAll(
  target: ChannelTarget,
  service: ServiceDefinition,
): Promise<Record<string, string>> {
  const { address, credentials, options } = createChannelOptions(target);
  const client = new Client(address, credentials, options);
  const bytes = (buffer: Buffer): Buffer => buffer;
  const answers = Object.entries(service).map(async ([name, { path }]) => {
    // on the wire every method is a stream both ways
    const call = client.makeBidiStreamRequest(path, bytes, bytes);
    const answer = await new Promise<string>((resolve) => {
      call.on('error', (error) => resolve(fromServiceError(error).kind));
      for (const event of ['data', 'end']) call.on(event, () => resolve('ok'));
      call.write(Buffer.alloc(0));
      call.end();
    });
    call.cancel();
    return [name, answer] as const;
  });
  try {
    return Object.fromEntries(await Promise.all(answers));
  } finally {
    client.close();
  }
}

function everyMethod(service: ServiceDefinition, answer: string): Record<string, string> {
  return Object.fromEntries(Object.keys(service).map((name) => [name, answer]));
}

const anonymous = (address: string, { caPem }: TlsIdentity): ChannelTarget => {
  return { address, security: { kind: 'tls', caPem, serverName: SERVER_NAME } };
};
const asNode = (address: string, identity: TlsIdentity): ChannelTarget => {
  return { address, security: { kind: 'mtls', identity, serverName: SERVER_NAME } };
};

describe('who may call the Engine service', () => {
  let server: RpcServer;
  let worker: TlsIdentity;
  let address: string;

  before(async () => {
    const ca = await createTestCa();
    worker = await ca.issue('n2', NodeRole.WORKER);
    // nobody gets as far as to what it works with
    const modules = {
      engine: { containers: {}, images: {}, volumes: {}, system: {} },
    } as unknown as EngineMethodsModules;
    server = await listenTls({
      host: '127.0.0.1',
      port: 0,
      identity: await ca.issue('n1', NodeRole.WORKER),
      services: [engineService(modules)],
      logger: silentLogger,
    });
    address = `127.0.0.1:${server.port}`;
  });
  after(() => server[Symbol.asyncDispose]());

  it('nobody unknown and no worker, for any method, wherever it is served', async () => {
    assert.deepEqual(
      await tryAll(anonymous(address, worker), EngineService),
      everyMethod(EngineService, 'unauthenticated'),
    );
    assert.deepEqual(
      await tryAll(asNode(address, worker), EngineService),
      everyMethod(EngineService, 'permission-denied'),
    );
  });
});

/** Carries connections to a unix socket to the agent's port, inside of its namespace. */
const DOOR = `
const [, path] = process.argv;
const net = require('net');
net.createServer((outside) => {
  const inside = net.connect(4402, '127.0.0.1');
  for (const s of [inside, outside]) s.on('error', () => {}).on('close', () => { inside.destroy(); outside.destroy(); });
  inside.pipe(outside).pipe(inside);
}).listen(path);`;

describe("an agent's port for managers", function () {
  let manager: TestManager;
  let host: AgentHost;
  let door: ChildProcess | undefined;
  let address: string;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip']) requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    await host.setUp();
    await host.start();
    const path = join(host.folder, 'tcp.sock');
    address = `unix:${path}`;
    const words = [`--net=${host.netnsPath}`, process.execPath, '-e', DOOR, path];
    door = spawn('nsenter', words, { stdio: 'inherit' });
    await eventually(() => assert.ok(existsSync(path)));
  });
  after(async () => {
    door?.kill('SIGKILL');
    await (host as AgentHost | undefined)?.tearDown();
    await (manager as TestManager | undefined)?.[Symbol.asyncDispose]();
  });

  it('does not have the Engine service, whoever asks', async () => {
    const worker = await manager.issue(NodeRole.WORKER, 'n2');
    const other = await manager.issue(NodeRole.MANAGER, 'm2');
    const callers = [anonymous(address, worker), asNode(address, worker), asNode(address, other)];
    for (const target of callers) {
      assert.deepEqual(
        await tryAll(target, EngineService),
        everyMethod(EngineService, 'unimplemented'),
      );
    }
    // what is served there answers managers, and them alone
    const [nobody, node, operator] = await Promise.all(
      callers.map((target) => tryAll(target, AgentService)),
    );
    assert.deepEqual(nobody, everyMethod(AgentService, 'unauthenticated'));
    assert.deepEqual(node, everyMethod(AgentService, 'permission-denied'));
    assert.equal(operator?.['imageList'], 'ok');
  });
});
