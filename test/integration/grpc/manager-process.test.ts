import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import {
  ControlClient,
  type SystemInfo,
  type UpdateServiceRequest,
} from '../../../proto/gen/hatoba/v1/control.js';
import { ServiceSpec, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { localTarget, openClient, unary } from '../../../proto/wire/client.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand } from '../../support/requires.js';

const MAIN = fileURLToPath(new URL('../../../manager/main.ts', import.meta.url));

describe('a manager with its own etcd', function () {
  this.timeout(60_000);
  let folder = '';
  let configFile: string;
  let running: ChildProcess | undefined;
  let control: ControlClient;

  before(async function () {
    requiresCommand(this, 'etcd');
    folder = await mkdtemp('/tmp/ht-manager-');
    configFile = join(folder, 'manager.yaml');
    const [api, client, peer] = await freePorts(3);
    await writeFile(
      configFile,
      stringify({
        root: join(folder, 'root'),
        runDir: join(folder, 'run'),
        advertiseAddr: '127.0.0.1',
        listenAddr: `127.0.0.1:${api}`,
        etcdClientPort: client,
        etcdPeerPort: peer,
      }),
    );
    control = openClient(ControlClient, localTarget(join(folder, 'run', 'manager.sock')));
  });
  after(async () => {
    if (folder === '') return; // skipped
    control.close();
    if (running !== undefined) await stop('SIGTERM');
    await rm(folder, { recursive: true });
  });

  function start(...flags: string[]): ChildProcess {
    const args = ['--import', 'tsx', MAIN, '--config', configFile, ...flags];
    return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  async function stop(signal: NodeJS.Signals): Promise<number | null> {
    const child = running;
    running = undefined;
    assert.ok(child !== undefined);
    child.kill(signal);
    return exitOf(child);
  }

  function leading(): Promise<SystemInfo> {
    return eventually(
      async () => {
        const info = await unary(control.getSystemInfo.bind(control), {}, { timeoutMs: 1000 });
        assert.equal(info.leaderNodeId, info.nodeId);
        return info;
      },
      { timeoutMs: 20_000 },
    );
  }

  function etcdPid(): number {
    return Number(readFileSync(join(folder, 'root', 'manager', 'etcd.pid'), 'utf8'));
  }

  async function scale(replicas: number): Promise<void> {
    const spec = ServiceSpec.fromPartial({
      name: 'web',
      mode: { $case: 'replicated', value: { replicas } },
      taskTemplate: { containerSpec: { image: 'web:1' } },
    });
    const request: UpdateServiceRequest = { service: 'web', version: 0, spec, rollback: false };
    await unary(control.updateService.bind(control), request);
  }

  function pendingTasks(count: number): Promise<string[]> {
    return eventually(
      async () => {
        const request = { service: 'web', stack: '', node: '', history: false };
        const { tasks } = await unary(control.listTasks.bind(control), request);
        assert.equal(tasks.length, count);
        assert.ok(tasks.every((t) => t.status?.state === TaskState.PENDING));
        return tasks.map((t) => t.id).sort();
      },
      { timeoutMs: 15_000 },
    );
  }

  it('makes a cluster, leads it, and plans the tasks of a service', async () => {
    running = start();
    const info = await leading();
    assert.notEqual(info.clusterId, '');
    assert.equal(info.nodes, 0);
    const { networks } = await unary(control.listNetworks.bind(control), {});
    assert.deepEqual(
      networks.map((n) => n.spec?.name),
      ['ingress'],
    );
    const spec = ServiceSpec.fromPartial({
      name: 'web',
      mode: { $case: 'replicated', value: { replicas: 1 } },
      taskTemplate: { containerSpec: { image: 'web:1' } },
    });
    await unary(control.createService.bind(control), { spec });
    await pendingTasks(1); // there is no node to run it
  });

  it('refuses a second manager on the same folder, and goes on', async () => {
    const second = start();
    const output = text(second);
    assert.equal(await exitOf(second), 1);
    assert.match(await output, /a manager runs already/);
    await leading();
  });

  it('loses nothing when it is killed, and ends the etcd it left', async () => {
    await scale(3);
    const before = await pendingTasks(3);
    const etcd = etcdPid();
    await stop('SIGKILL');
    running = start();
    await leading();
    assert.deepEqual(await pendingTasks(3), before);
    assert.notEqual(etcdPid(), etcd);
    assert.equal(existsSync(`/proc/${etcd}`), false);
  });

  it('starts etcd again when that is killed, and goes on writing', async () => {
    const etcd = etcdPid();
    process.kill(etcd, 'SIGKILL');
    await eventually(() => assert.notEqual(etcdPid(), etcd), { timeoutMs: 10_000 });
    await eventually(() => scale(5), { timeoutMs: 15_000 });
    await pendingTasks(5);
  });

  it('stops cleanly: no etcd, socket or pid file stays', async () => {
    const etcd = etcdPid();
    assert.equal(await stop('SIGTERM'), 0);
    assert.equal(existsSync(`/proc/${etcd}`), false);
    assert.deepEqual(await readdir(join(folder, 'run')), []);
  });

  it('refuses a wrong setting with its name, and starts nothing', async () => {
    const child = start('--log-level', 'loud');
    const output = text(child);
    assert.equal(await exitOf(child), 1);
    assert.match(await output, /--log-level: "loud" is not one of debug, info, warn, error/);
  });
});

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map((s) => new Promise<void>((resolve) => s.listen(0, '127.0.0.1', resolve))),
  );
  const ports = servers.map((s) => (s.address() as AddressInfo).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}

async function text(child: ChildProcess): Promise<string> {
  let output = '';
  for await (const chunk of child.stderr ?? []) output += String(chunk);
  return output;
}
