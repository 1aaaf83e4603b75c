import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { UpdateServiceRequest } from '../../../proto/gen/hatoba/v1/control.js';
import { ServiceSpec, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { readStream, unary } from '../../../proto/wire/client.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand } from '../../support/requires.js';
import { ManagerProcess } from './manager-rig.js';

describe('a manager with its own etcd', function () {
  let manager: ManagerProcess;

  before(async function () {
    requiresCommand(this, 'etcd');
    manager = await ManagerProcess.create();
  });
  after(async () => {
    await (manager as ManagerProcess | undefined)?.[Symbol.asyncDispose]();
  });

  function etcdPid(): number {
    return Number(readFileSync(join(manager.folder, 'root', 'manager', 'etcd.pid'), 'utf8'));
  }

  function specOf(replicas: number): ServiceSpec {
    return ServiceSpec.fromPartial({
      name: 'web',
      mode: { $case: 'replicated', value: { replicas } },
      taskTemplate: { containerSpec: { image: 'web:1' } },
    });
  }

  async function scale(replicas: number): Promise<void> {
    const spec = specOf(replicas);
    const request: UpdateServiceRequest = { service: 'web', version: 0, spec, rollback: false };
    await unary(manager.control.updateService.bind(manager.control), request);
  }

  function pendingTasks(count: number): Promise<string[]> {
    return eventually(async () => {
      const request = { service: 'web', stack: '', node: '', history: false };
      const { tasks } = await unary(manager.control.listTasks.bind(manager.control), request);
      assert.equal(tasks.length, count);
      assert.ok(tasks.every((t) => t.status?.state === TaskState.PENDING));
      return tasks.map((t) => t.id).sort();
    });
  }

  it('makes a cluster, leads it, and plans the tasks of a service', async () => {
    manager.start();
    const info = await manager.leading();
    assert.notEqual(info.clusterId, '');
    assert.equal(info.nodes, 0);
    await eventually(async () => {
      const { networks } = await unary(manager.control.listNetworks.bind(manager.control), {});
      assert.deepEqual(
        networks.map((n) => [n.spec?.name, n.spec?.driver, n.ipam[0]?.subnet]),
        [
          ['host', 'host', undefined],
          ['ingress', 'overlay', '10.128.0.0/16'],
          ['none', 'none', undefined],
        ],
      );
    });
    await unary(manager.control.createService.bind(manager.control), { spec: specOf(1) });
    await pendingTasks(1); // there is no node to run it
  });

  it('refuses a second manager on the same folder, and goes on', async () => {
    const { code, output } = await manager.attempt();
    assert.equal(code, 1);
    assert.match(output, /runs already/);
    await manager.leading();
  });

  it('loses nothing when it is killed, and ends the etcd it left', async () => {
    await scale(3);
    const before = await pendingTasks(3);
    const etcd = etcdPid();
    await manager.stop('SIGKILL');
    manager.start();
    await manager.leading();
    assert.deepEqual(await pendingTasks(3), before);
    assert.notEqual(etcdPid(), etcd);
    // It is not the manager's child any more, so another process has to reap it.
    await eventually(() => assert.equal(existsSync(`/proc/${etcd}`), false));
  });

  it('starts etcd again when that is killed, and goes on writing', async () => {
    const etcd = etcdPid();
    process.kill(etcd, 'SIGKILL');
    await eventually(() => assert.notEqual(etcdPid(), etcd));
    await eventually(() => scale(5));
    await pendingTasks(5);
  });

  it('serves many calls at once without a warning', async () => {
    const calls = Array.from({ length: 40 }, () => {
      const end = new AbortController();
      const request = {
        service: 'web',
        task: '',
        options: { follow: true, sinceMs: 0, untilMs: 0 },
      };
      return { end, stream: readStream(manager.control.serviceLogs(request), end.signal).next() };
    });
    await manager.leading(); // answered behind them, on the same connection
    for (const { end, stream } of calls) {
      end.abort(new Error('seen enough'));
      await assert.rejects(stream, /seen enough/);
    }
    assert.doesNotMatch(manager.log, /Warning/);
  });

  it('stops cleanly: no etcd, socket or pid file stays', async () => {
    const etcd = etcdPid();
    assert.equal(await manager.stop('SIGTERM'), 0);
    assert.equal(existsSync(`/proc/${etcd}`), false);
    assert.deepEqual(await readdir(join(manager.folder, 'run')), []);
  });

  it('has a certificate for the address it advertises, also when that changes', async () => {
    const file = join(manager.folder, 'root', 'pki', 'node.crt');
    const before = new X509Certificate(readFileSync(file));
    manager.start('--advertise-addr', '127.0.0.2');
    const { nodeId } = await manager.leading();
    const after = new X509Certificate(readFileSync(file));
    assert.equal(before.checkIP('127.0.0.2'), undefined);
    assert.equal(after.checkIP('127.0.0.2'), '127.0.0.2');
    assert.equal(after.checkHost(nodeId), nodeId);
    assert.equal(await manager.stop('SIGTERM'), 0);
  });

  it('keeps quiet: nobody was refused by its etcd', () => {
    const log = readFileSync(join(manager.folder, 'root', 'log', 'etcd.log'), 'utf8');
    assert.doesNotMatch(log, /certificate/);
    assert.doesNotMatch(log, /unrecognized/);
  });

  it('refuses a wrong setting with its name, and starts nothing', async () => {
    const { code, output } = await manager.attempt('--log-level', 'loud');
    assert.equal(code, 1);
    assert.match(output, /--log-level: "loud" is not one of debug, info, warn, error/);
  });
});
