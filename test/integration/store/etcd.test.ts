import assert from 'node:assert/strict';
import { access, readFile, writeFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { kindOf } from '../../../common/errors.js';
import type { Service } from '../../../common/model/objects.js';
import { silentLogger } from '../../../common/logger.js';
import { etcdArguments } from '../../../manager/etcd/etcd-arguments.js';
import { startEtcd } from '../../../manager/etcd/etcd-process.js';
import { CertificateAuthority, createRootCa } from '../../../manager/security/ca.js';
import { Election, type Leadership } from '../../../manager/leader/election.js';
import type { Store } from '../../../manager/store/store.js';
import type { EtcdStore } from '../../../manager/store/etcd-store.js';
import { applyPlan } from '../../../manager/store/write.js';
import { Reflector } from '../../../manager/view/reflector.js';
import { View } from '../../../manager/view/view.js';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask } from '../../support/builders.js';
import { clientTls, freePort, startTestEtcd, type TestEtcd } from '../../support/etcd.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand } from '../../support/requires.js';

const modules = { clock: systemClock, random: systemRandom, logger: silentLogger };
const isAlive = (pid: number): Promise<boolean> =>
  access(`/proc/${pid}/stat`).then(
    () => readFile(`/proc/${pid}/stat`, 'utf8').then((s) => !/\) Z /.test(s)),
    () => false,
  );

describe('the store in a supervised etcd', function () {
  let test: TestEtcd;
  let store: EtcdStore;

  before(async function () {
    requiresCommand(this, 'etcd');
    test = await startTestEtcd();
    store = test.openStore();
  });
  after(async () => {
    await (store as EtcdStore | undefined)?.[Symbol.asyncDispose]();
    await (test as TestEtcd | undefined)?.[Symbol.asyncDispose]();
  });

  const startView = async (from = store): Promise<{ view: View; reflector: Reflector }> => {
    const view = new View();
    const reflector = new Reflector({ ...modules, store: from, view });
    await reflector.start();
    return { view, reflector };
  };
  const create = (name: string): Promise<{ revision: number; conflicts: number }> =>
    applyPlan(
      store,
      {
        groups: [[{ action: 'create', kind: 'service', object: aService({ spec: { name } }) }]],
      },
      modules,
    );

  const remove = async (service: Service): Promise<void> => {
    const entry = await store.get(`/hatoba/v1/service/${service.id}`);
    const object = { ...service, version: entry?.revision ?? 0 };
    await applyPlan(store, { groups: [[{ action: 'remove', kind: 'service', object }]] }, modules);
  };

  it('opens for managers, and not for workers or strangers', async () => {
    await store.get('/x');
    const worker = await test.ca.issue({
      nodeId: 'worker-1',
      clusterId: 'cluster',
      role: NodeRole.WORKER,
      addresses: [],
    });
    const otherCa = await CertificateAuthority.load(
      await createRootCa('cluster', systemClock),
      systemClock,
    );
    const manager = { nodeId: 'm', clusterId: 'cluster', role: NodeRole.MANAGER, addresses: [] };
    const forged = { ...(await otherCa.issue(manager)), caPem: worker.caPem };
    for (const identity of [worker, forged]) {
      const stranger = test.openStore({ requestTimeoutMs: 2000, tls: clientTls(identity) });
      await assert.rejects(stranger.get('/x'), (e) => kindOf(e) === 'unavailable');
      await stranger[Symbol.asyncDispose]();
    }
  });

  it('is reached though one of the endpoints is dead', async () => {
    const dead = `https://127.0.0.1:${await freePort()}`;
    const several = test.openStore({ endpoints: [dead, ...test.etcd.endpoints] });
    for (let i = 0; i < 10; i++) await several.get('/x');
    await several[Symbol.asyncDispose]();
  });

  it('dies by SIGKILL and comes back, and the view misses nothing', async () => {
    const { view, reflector } = await startView();
    const names: string[] = [];
    view.onChange((changes) => {
      for (const c of changes) if (c.kind === 'service') names.push(c.object.spec.name);
    });
    await create('before');
    const pid = test.etcd.pid;
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await eventually(() => create('after'), { everyMs: 50 });
    const { revision } = await create('last');
    await view.waitFor(revision);
    assert.deepEqual(names, ['before', 'after', 'last']);
    assert.equal(reflector.relists, 1, 'the watch went on, nothing was listed again');
    assert.notEqual(test.etcd.pid, pid);
    assert.equal(await isAlive(pid), false);
    assert.equal(await readFile(test.options.pidFile, 'utf8'), `${test.etcd.pid ?? 0}\n`);
    await reflector[Symbol.asyncDispose]();
  });

  it('lists again when its history was compacted before the watch began', async () => {
    const object = aService({ spec: { name: 'compacted' } });
    await create('compacted');
    let opened = 0;
    const late: Store = {
      list: (prefix) => store.list(prefix),
      get: (key) => store.get(key),
      commit: (transaction) => store.commit(transaction),
      grantLease: (ttlMs) => store.grantLease(ttlMs),
      watch: async (prefix, revision, handler) => {
        if (opened++ === 0) {
          await remove(object);
          await create('instead');
          await store.compact((await store.list('/none/')).revision);
        }
        return store.watch(prefix, revision, handler);
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const view = new View();
    const changes: string[] = [];
    view.onChange((all) => {
      for (const c of all)
        if (c.kind === 'service') changes.push(`${c.type} ${c.object.spec.name}`);
    });
    const reflector = new Reflector({ ...modules, store: late, view });
    await reflector.start();
    await eventually(() => assert.equal(reflector.relists, 2));
    await eventually(() =>
      assert.deepEqual(changes.slice(-2), ['delete compacted', 'put instead']),
    );
    const { revision } = await create('watched');
    await view.waitFor(revision);
    assert.equal(changes.at(-1), 'put watched');
    await reflector[Symbol.asyncDispose]();
  });

  it('refuses the commits of a deposed leader', async () => {
    const started: Leadership[] = [];
    const stop = new AbortController();
    const run = (nodeId: string): Promise<void> =>
      new Election({ ...modules, store }, { nodeId }).run(async (leadership) => {
        started.push(leadership);
        await new Promise<void>((resolve) =>
          leadership.signal.addEventListener('abort', () => resolve(), { once: true }),
        );
      }, stop.signal);
    const running = [run('m1')];
    await eventually(() => assert.equal(started.length, 1));
    running.push(run('m2'));
    const plan = (id: string): Parameters<typeof applyPlan>[1] => ({
      groups: [[{ action: 'create', kind: 'node', object: aNode({ id }) }]],
    });
    const [former] = started;
    assert.ok(former !== undefined);
    await applyPlan(store, plan('n1'), { ...modules, fence: former.fence });
    await store.commit({ guards: [], puts: [], deletes: ['/hatoba/v1/leader/manager'] });
    await eventually(() => assert.equal(started.length, 2));
    await assert.rejects(
      applyPlan(store, plan('n2'), { ...modules, fence: former.fence }),
      (e) => kindOf(e) === 'conflict',
    );
    assert.equal(await store.get('/hatoba/v1/node/n2'), undefined);
    const present = started[1];
    assert.ok(present !== undefined);
    await applyPlan(store, plan('n2'), { ...modules, fence: present.fence });
    await eventually(() => assert.equal(former.signal.aborted, true));
    stop.abort();
    await Promise.all(running);
    assert.equal(await store.get('/hatoba/v1/leader/manager'), undefined, 'the last one resigned');
  });

  it('writes a thousand tasks of one plan in few transactions, next to a stale group', async () => {
    const tasks = Array.from({ length: 1000 }, (_, i) =>
      aTask({ serviceId: 'id-big', slot: i + 1 }),
    );
    const [, stale] = tasks;
    assert.ok(stale !== undefined);
    await applyPlan(
      store,
      { groups: [[{ action: 'create', kind: 'task', object: stale }]] },
      modules,
    );
    const { revision: before } = await store.list('/none/');
    const result = await applyPlan(
      store,
      { groups: tasks.map((object) => [{ action: 'create', kind: 'task', object } as const]) },
      modules,
    );
    assert.equal(result.conflicts, 1);
    const { entries, revision } = await store.list('/hatoba/v1/task/id-big/');
    assert.equal(entries.length, 1000);
    assert.ok(revision - before < 150, `${revision - before} transactions`);
  });

  it('ends the etcd of a manager that was killed before it starts its own', async () => {
    const { folder, options } = test;
    const orphanOptions = {
      ...options,
      dataDir: join(folder, 'orphan'),
      pidFile: join(folder, 'orphan.pid'),
      logFile: join(folder, 'orphan.log'),
      clientPort:
        options.clientPort + 10_000 > 65_535
          ? options.clientPort - 10_000
          : options.clientPort + 10_000,
      peerPort:
        options.peerPort + 10_000 > 65_535 ? options.peerPort - 10_000 : options.peerPort + 10_000,
    };
    const orphan = spawn('etcd', etcdArguments(orphanOptions), { stdio: 'ignore' });
    const { pid } = orphan;
    assert.ok(pid !== undefined);
    await writeFile(orphanOptions.pidFile, `${pid}\n`);
    const etcd = await startEtcd(orphanOptions, modules);
    assert.equal(await isAlive(pid), false);
    const own = etcd.pid;
    assert.ok(own !== undefined && own !== pid);
    await etcd[Symbol.asyncDispose]();
    assert.equal(await isAlive(own), false);
    await assert.rejects(access(orphanOptions.pidFile));
  });

  it('leaves a process alone that only has the number of a former etcd', async () => {
    const bystander = spawn('sleep', ['60'], { stdio: 'ignore' });
    const { endOrphan } = await import('../../../manager/etcd/orphan.js');
    const pidFile = join(test.folder, 'reused.pid');
    await writeFile(pidFile, `${bystander.pid ?? 0}\n`);
    assert.equal(await endOrphan(pidFile, join(test.folder, 'etcd'), systemClock), undefined);
    assert.equal(bystander.exitCode, null);
    bystander.kill('SIGKILL');
    await assert.rejects(access(pidFile));
  });

  it('says why etcd does not start', async () => {
    const { folder, options } = test;
    const busy = { ...options, dataDir: join(folder, 'busy'), pidFile: join(folder, 'busy.pid') };
    await assert.rejects(startEtcd(busy, modules), (error: Error) => {
      assert.match(error.message, /port \d+ is taken by another process/);
      return true;
    });
    await assert.rejects(
      startEtcd({ ...busy, binary: '/none/etcd', clientPort: 1 }, modules),
      /ENOENT/,
    );
    const noPeer = { ...busy, clientPort: await freePort(), logFile: join(folder, 'busy.log') };
    await assert.rejects(startEtcd(noPeer, modules), /did not start: .*address already in use/s);
  });
});
