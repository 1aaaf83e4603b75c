import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  NetworkConfig,
  NetworkPeer,
  NetworkService,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { MountType, PublishMode, Task, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { unary } from '../../../proto/wire/client.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { askTcp, runIn } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig, port } from './local-rig.js';
import { TestManager } from './test-manager.js';

const HOST_ADDRESS = '192.0.2.1';

describe('containers of one node', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;
  const listeners: ChildProcess[] = [];

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox', 'nft'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(
      await dockerArchive(await busyboxImage({ tag: 'box:1', applets: ['hostname', 'ip'] })),
    );
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
    for (const child of listeners.splice(0)) child.kill('SIGKILL');
    for (const { id, taskId } of await rig.list()) if (taskId === '') await rig.remove(id);
    await eventually(() => assert.deepEqual(host.leftovers(), []));
  });

  /** What somebody on the host is told. */
  const ask = (address: string, at: number): Promise<string> => askTcp(host.netnsPath, address, at);

  /** A program of the host that takes one connection. @returns what it will be told there */
  async function listen(at: number): Promise<{ heard: Promise<string> }> {
    const words = [`--net=${host.netnsPath}`, 'busybox', 'nc', '-l', '-p', String(at)];
    const child = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    listeners.push(child);
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const heard = once(child, 'close').then(() => text);
    await eventually(async () => {
      assert.ok((await runIn(host.netnsPath, 'ss', '-ltn')).includes(`:${at} `));
    });
    return { heard };
  }

  it('have a network before any manager has told of its own', async () => {
    const { id, name, networks, networkMode, state } = await rig.run({
      spec: { args: ['sleep', '100'] },
    });
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.match(name, /^[a-z]+_[a-z]+$/);
    assert.equal(state?.status, 'running');
    assert.equal(networkMode, 'bridge');
    assert.match(networks[0]?.ipAddress ?? '', /^172\.30\.0\.\d+$/);
    assert.match(await runIn(host.netnsPath, 'ip', '-br', 'address'), /hlac1e0000 .*172\.30\.0\.1/);
  });

  it('reach each other, by address and by name', async () => {
    const web = await rig.serve('web');
    const address = web.networks[0]?.ipAddress ?? '';
    for (const name of [address, 'web', web.id.slice(0, 12)]) {
      assert.equal(await rig.say(`nc -w 3 ${name} 80`), 'web', name);
    }
    const hosts = await rig.say('hostname; cat /etc/hosts', { spec: {} });
    assert.match(hosts, /^([0-9a-f]{12})\n[^]*172\.30\.0\.\d+\s+\1/);
  });

  it('do not reach what listens on the host, by none of its addresses', async () => {
    const service = await listen(7000);
    for (const address of [HOST_ADDRESS, '172.30.0.1']) {
      const answer = await rig.say(`echo hello | nc -w 3 ${address} 7000 2>&1`);
      assert.match(answer, /refused/, address);
    }
    // the listener hears one client only: the host itself, which says nothing
    await askTcp(host.netnsPath, HOST_ADDRESS, 7000);
    assert.equal(await service.heard, '');
  });

  it('publish ports, which answer on the host at 127.0.0.1 and at its address', async () => {
    const web = await rig.serve('web', {
      ports: [port(80, 8080), port(80), port(80, 8081, '127.0.0.1')],
    });
    const chosen = web.ports[1]?.publishedPort ?? 0;
    assert.ok(chosen >= 32768 && chosen < 61000, String(chosen));
    for (const at of [8080, chosen]) {
      assert.equal(await ask('127.0.0.1', at), 'web');
      assert.equal(await ask(HOST_ADDRESS, at), 'web');
    }
    assert.equal(await ask('127.0.0.1', 8081), 'web');
    assert.match(await ask(HOST_ADDRESS, 8081), /refused/);
    assert.equal(await rig.say(`nc -w 3 ${HOST_ADDRESS} 8080`), 'web');
  });

  it('say who has a port that they want, before anything runs', async () => {
    const ingress = NetworkConfig.fromPartial({
      networkId: 'ingress',
      name: 'ingress',
      driver: 'overlay',
      subnets: [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }],
      vni: 4096,
      ingress: true,
    });
    const published = { targetPort: 80, publishedPort: 8100, publishMode: PublishMode.INGRESS };
    const service = NetworkService.fromPartial({
      networkId: 'ingress',
      serviceId: 's1',
      name: 'shop',
      virtualIp: '10.0.0.2',
      ports: [published],
    });
    const peer = NetworkPeer.fromPartial({ nodeId: 'n1', index: 1, dataPathAddress: HOST_ADDRESS });
    manager.assign(
      { $case: 'network', value: ingress },
      { $case: 'peer', value: peer },
      { $case: 'service', value: service },
    );
    await eventually(() =>
      assert.ok((manager.heartbeats.at(-1)?.appliedNetworkRevision ?? 0) >= manager.revision),
    );
    await rig.serve('web', { ports: [port(80, 8080, '127.0.0.1')] });
    const listener = await listen(8200);
    const cases: [number, RegExp][] = [
      [8080, /port 8080\/tcp is taken by container "web"/],
      [8100, /port 8100\/tcp is taken by service "shop"/],
      [8200, /port 8200\/tcp is taken by a program of this host/],
    ];
    for (const [at, message] of cases) {
      await assert.rejects(rig.serve('other', { ports: [port(80, at)] }), { message });
    }
    await assert.rejects(rig.serve('other', { ports: [port(80, 80, '203.0.113.9')] }), {
      message: /this host does not have that address/,
    });
    await askTcp(host.netnsPath, '127.0.0.1', 8200);
    await listener.heard;
    assert.deepEqual(
      (await rig.list()).map(({ name }) => name),
      ['web'],
    );
  });

  it('keep address and ports over their end, and give the ports to others meanwhile', async () => {
    const web = await rig.serve('web', { ports: [port(80, 8080)] });
    const { engine } = host;
    await unary(engine.containerStop.bind(engine), { container: 'web', signal: '' });
    await eventually(async () => assert.match(await ask('127.0.0.1', 8080), /refused/));
    const other = await rig.serve('other', { ports: [port(80, 8080)] });
    assert.notEqual(other.networks[0]?.ipAddress, web.networks[0]?.ipAddress);
    await assert.rejects(unary(engine.containerStart.bind(engine), { container: 'web' }), {
      message: /taken by container "other"/,
    });
    await rig.remove('other');
    const again = await unary(engine.containerStart.bind(engine), { container: 'web' });
    assert.deepEqual(again.networks, web.networks);
    await eventually(async () => assert.equal(await ask('127.0.0.1', 8080), 'web'));
    const restarted = await unary(engine.containerRestart.bind(engine), {
      container: 'web',
      signal: '',
    });
    assert.notEqual(restarted.state?.pid, again.state?.pid);
    await eventually(async () => assert.equal(await ask(HOST_ADDRESS, 8080), 'web'));
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`live on after ${signal} of the agent, and are the same to the next`, async () => {
      const web = await rig.serve('web', { ports: [port(80, 8080)] });
      const ended = await rig.run({ name: 'ended', spec: { args: ['true'] } });
      await rig.wait(ended.id);
      await host.stop(signal);
      assert.equal(await ask('127.0.0.1', 8080), 'web');
      await host.start();
      assert.deepEqual(await rig.inspect('web'), web);
      assert.equal((await rig.inspect('ended')).state?.exitCode, 0);
      assert.equal(await ask('127.0.0.1', 8080), 'web');
      assert.equal(await rig.say('nc -w 3 web 80'), 'web');
      const next = await rig.run({ spec: { args: ['sleep', '100'] } });
      const addresses = (await rig.list()).map(({ networks }) => networks[0]?.ipAddress);
      assert.equal(new Set(addresses).size, 3, next.name);
    });
  }

  it('that are to be removed leave nothing when they end', async () => {
    const { id } = await rig
      .run({ autoRemove: true, spec: { args: ['sh', '-c', 'exit 7'] } })
      .catch((error: unknown) => assert.fail(String(error)));
    await eventually(() => assert.deepEqual(host.leftovers(), []));
    await assert.rejects(rig.inspect(id), { kind: 'not-found' });
  });

  it('can have the network of the host, none, or that of another container', async () => {
    assert.match(await rig.say('ip -o address', { networkMode: 'host' }), /192\.0\.2\.1/);
    const none = await rig.say('ip -o link', { networkMode: 'none' });
    assert.match(none, /^1: lo/);
    assert.equal(none.split('\n').length, 1);
    await rig.serve('web');
    assert.equal(await rig.say('nc -w 3 127.0.0.1 80', { networkMode: 'container:web' }), 'web');
    const mistakes: [Parameters<LocalRig['create']>[0], RegExp][] = [
      [{ networkMode: 'front' }, /no network has the name or id "front"/],
      [{ networkMode: 'container:web', ports: [port(80)] }, /publish them with "web"/],
      [{ networkMode: 'container:nobody' }, /nobody/],
      [{ name: 'a b' }, /"a b" cannot be a container's name/],
      [{ spec: { image: 'nowhere:1' } }, /image "nowhere:1" is not on this node/],
      [{ autoRemove: true, restartPolicy: { name: 'always' } }, /cannot be restarted "always"/],
    ];
    for (const [request, message] of mistakes) {
      await assert.rejects(rig.create(request), { message });
    }
  });

  it("of tasks can be looked at, and are not local users' to change", async () => {
    manager.assignTask(
      Task.fromPartial({
        id: 't1',
        serviceId: 'svc1',
        serviceName: 'shop',
        slot: 1,
        nodeId: 'n1',
        desiredState: TaskState.RUNNING,
        status: { state: TaskState.ASSIGNED, timestampMs: 1 },
        spec: { containerSpec: { image: 'box:1', args: ['sleep', '100'], stopGracePeriodMs: 0 } },
      }),
    );
    await eventually(() => assert.equal(manager.statuses.get('t1')?.state, TaskState.RUNNING));
    const { engine } = host;
    const { name, taskId, taskName } = await rig.inspect('t1');
    assert.deepEqual(
      { name, taskId, taskName },
      { name: 'shop.1.t1', taskId: 't1', taskName: 'shop.1' },
    );
    const container = 't1';
    const stop = { container, signal: '' };
    const changes = [
      unary(engine.containerStop.bind(engine), stop),
      unary(engine.containerRestart.bind(engine), stop),
      unary(engine.containerStart.bind(engine), { container }),
      unary(engine.containerKill.bind(engine), stop),
      unary(engine.containerPause.bind(engine), { container }),
      unary(engine.containerUnpause.bind(engine), { container }),
      unary(engine.containerRename.bind(engine), { container, name: 'mine' }),
      unary(engine.containerUpdate.bind(engine), {
        container,
        limits: undefined,
        restartPolicy: undefined,
      }),
      unary(engine.containerRemove.bind(engine), { container, force: true, volumes: false }),
    ];
    for (const change of await Promise.allSettled(changes)) {
      assert.equal(change.status, 'rejected');
      assert.match(
        String(change.reason),
        /runs task shop\.1 of the cluster; use "hatoba service scale shop=N"/,
      );
    }
    const pruned = await unary(engine.containerPrune.bind(engine), { olderThanMs: 0 });
    assert.deepEqual(pruned.removed, []);
    assert.equal((await rig.inspect('t1')).state?.status, 'running');
    manager.unassign({ $case: 'task', value: Task.fromPartial({ id: 't1' }) });
    await eventually(() => assert.deepEqual(host.leftovers(), []));
  });

  it('are pruned when they do not run, and only then', async () => {
    const running = await rig.run({ name: 'on', spec: { args: ['sleep', '100'] } });
    const ended = await rig.run({ name: 'off', spec: { args: ['sh', '-c', 'echo 1 > /tmp/x'] } });
    await rig.wait(ended.id);
    const fresh = await rig.create({ name: 'new', spec: { args: ['true'] } });
    const { engine } = host;
    const early = await unary(engine.containerPrune.bind(engine), { olderThanMs: 3_600_000 });
    assert.deepEqual(early.removed, []);
    const { removed, reclaimedBytes } = await unary(engine.containerPrune.bind(engine), {
      olderThanMs: 0,
    });
    assert.deepEqual(removed.sort(), [ended.id, fresh].sort());
    assert.ok(reclaimedBytes > 0);
    assert.deepEqual(
      (await rig.list()).map(({ id }) => id),
      [running.id],
    );
  });

  it('are waited for', async () => {
    const folder = join(host.folder, 'waited-for');
    mkdirSync(folder);
    const script = 'until test -e /folder/go; do sleep 0.05; done; exit 4';
    const mounts = [{ type: MountType.BIND, source: folder, target: '/folder' }];
    const id = await rig.create({ spec: { args: ['sh', '-c', script], mounts } });
    assert.equal((await rig.wait(id)).state?.status, 'created');
    const next = rig.wait(id, 'next-exit');
    const removed = rig.wait(id, 'removed');
    const { engine } = host;
    await unary(engine.containerStart.bind(engine), { container: id });
    assert.equal((await rig.wait(id, 'healthy')).state?.status, 'running');
    writeFileSync(join(folder, 'go'), '');
    assert.equal((await next).state?.exitCode, 4);
    await assert.rejects(rig.wait(id, 'healthy'), { message: /it does not run/ });
    await rig.remove(id);
    assert.equal((await removed).id, id);
    await assert.rejects(rig.wait('nobody'), { kind: 'not-found' });
  });
});
