import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { CLUSTER_KEY } from '../../../manager/store/keys.js';
import { EtcdStore } from '../../../manager/store/etcd-store.js';
import { unary } from '../../../proto/wire/client.js';
import { freePort, startTestEtcd, type TestEtcd } from '../../support/etcd.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand } from '../../support/requires.js';
import { ManagerProcess } from '../grpc/manager-rig.js';

describe('a manager on an etcd of others', function () {
  before(function () {
    requiresCommand(this, 'etcd');
  });

  describe('without TLS', () => {
    let folder = '';
    let etcd: ChildProcess;
    let endpoint: string;
    before(async () => {
      folder = await mkdtemp('/tmp/ht-external-');
      endpoint = `http://127.0.0.1:${await freePort()}`;
      etcd = startPlainEtcd(folder, endpoint, `http://127.0.0.1:${await freePort()}`);
    });
    after(async () => {
      if (folder === '') return; // skipped
      const ended = new Promise((resolve) => etcd.once('exit', resolve));
      etcd.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true });
    });

    it('makes its cluster there, keeps it over a restart, and starts no etcd', async () => {
      await using manager = await ManagerProcess.create({ etcdEndpoints: [endpoint] });
      manager.start();
      const { clusterId } = await manager.leading();
      assert.equal(await manager.stop('SIGKILL'), null);
      manager.start();
      assert.equal((await manager.leading()).clusterId, clusterId);
      const modules = { clock: systemClock, random: systemRandom };
      await using store = new EtcdStore({ endpoints: [endpoint] }, modules);
      assert.notEqual(await store.get(CLUSTER_KEY), undefined);
      assert.equal(existsSync(join(manager.folder, 'root', 'manager', 'etcd')), false);
    });

    it('says that another cluster is in it', async () => {
      await using manager = await ManagerProcess.create({ etcdEndpoints: [endpoint] });
      const { code, output } = await manager.attempt();
      assert.equal(code, 1);
      assert.match(output, /etcd holds cluster \w+, this manager is of cluster \w+/);
    });
  });

  describe('with TLS', () => {
    let rig: TestEtcd;
    before(async () => {
      rig = await startTestEtcd();
    });
    after(async () => {
      await (rig as TestEtcd | undefined)?.[Symbol.asyncDispose]();
    });

    it('shows the certificate that the settings name', async () => {
      const { ca, certificate, key } = rig.options.tls;
      await using manager = await ManagerProcess.create({
        etcdEndpoints: rig.etcd.endpoints,
        ...{ etcdCa: ca, etcdCert: certificate, etcdKey: key },
      });
      manager.start();
      await manager.leading();
      const { worker } = await unary(manager.control.getJoinTokens.bind(manager.control), {});
      assert.match(worker, /^HTBTKN-1-/);
    });

    it('says what it cannot reach without one', async () => {
      await using manager = await ManagerProcess.create({ etcdEndpoints: rig.etcd.endpoints });
      const { code, output } = await manager.attempt();
      assert.equal(code, 1);
      assert.match(output, new RegExp(`etcd at ${rig.etcd.endpoints.join()} .*certificate`));
    });
  });

  it('names an etcd that does not answer', async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    await using manager = await ManagerProcess.create({ etcdEndpoints: [endpoint] });
    const { code, output } = await manager.attempt();
    assert.equal(code, 1);
    assert.match(output, new RegExp(`etcd at ${endpoint} .*ECONNREFUSED`));
  });

  it('starts once etcd does', async () => {
    const folder = await mkdtemp('/tmp/ht-external-');
    const endpoint = `http://127.0.0.1:${await freePort()}`;
    await using manager = await ManagerProcess.create({ etcdEndpoints: [endpoint] });
    manager.start();
    await eventually(() => assert.match(manager.log, /waiting for etcd/i));
    const etcd = startPlainEtcd(folder, endpoint, `http://127.0.0.1:${await freePort()}`);
    try {
      await manager.leading();
      assert.equal(await manager.stop('SIGTERM'), 0);
    } finally {
      const ended = new Promise((resolve) => etcd.once('exit', resolve));
      etcd.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true });
    }
  });
});

function startPlainEtcd(folder: string, clientUrl: string, peerUrl: string): ChildProcess {
  const flags = {
    'data-dir': join(folder, 'data'),
    'listen-client-urls': clientUrl,
    'advertise-client-urls': clientUrl,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `default=${peerUrl}`,
    'log-level': 'error',
  };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  return spawn('etcd', args, { stdio: 'ignore' });
}
