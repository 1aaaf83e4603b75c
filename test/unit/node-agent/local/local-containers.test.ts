import assert from 'node:assert/strict';
import fc from 'fast-check';
import { silentLogger } from '../../../../common/logger.js';
import { attachmentOf } from '../../../../node-agent/local/attachment.js';
import { bridgeNetwork } from '../../../../node-agent/local/bridge-subnet.js';
import { ContainerNetworks } from '../../../../node-agent/local/container-networks.js';
import { LocalContainers } from '../../../../node-agent/local/local-containers.js';
import type { PortUse } from '../../../../node-agent/local/port-use.js';
import { NetworkConfig } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { Image, PortConfig } from '../../../../proto/gen/hatoba/v1/types.js';
import type { Containers } from '../../../../runtime/engine.js';
import { createdContainer } from '../../../support/container-state.js';
import { eventually } from '../../../support/eventually.js';
import { seededRandom } from '../../../support/seeded-random.js';
import { aConfig, aRequest, FakeLocalContainers, FakeSandboxes, noCluster } from './fakes.js';

describe('LocalContainers', () => {
  let engine: FakeLocalContainers;
  let driver: FakeSandboxes;
  let used: PortUse[];
  let networkWait: string;
  let changes: number;
  let networks: ContainerNetworks;
  let local: LocalContainers;

  function open(subnet = '172.30.0.0/16'): void {
    engine = new FakeLocalContainers();
    driver = new FakeSandboxes();
    used = [];
    networkWait = '';
    changes = 0;
    const containers = engine as unknown as Containers; // only what is used is there
    const random = seededRandom(1);
    networks = new ContainerNetworks(
      { nodeId: 'n1', network: bridgeNetwork(subnet, 0) },
      {
        containers,
        driver,
        otherPorts: () => Promise.resolve(used),
        ownAddresses: () => new Set(['10.0.0.1']),
        fitTo: () => bridgeNetwork('172.20.0.0/16', 0),
        random,
        log: silentLogger,
      },
    );
    local = new LocalContainers(
      { hostname: 'box' },
      {
        engine: {
          containers,
          images: {
            find: (name) =>
              Promise.resolve(name === 'box:1' ? Image.fromPartial({ id: 'i' }) : undefined),
          },
        },
        networks,
        ...noCluster,
        networkWait: () => networkWait,
        onChange: () => changes++,
        random,
        log: silentLogger,
      },
    );
  }
  beforeEach(() => open());

  const create = async (...args: Parameters<typeof aRequest>): Promise<string> =>
    (await local.create(aRequest(...args))).state.config.id;
  const addressOf = (id: string): string => {
    const config = engine.get(id)?.config;
    const attachment = config === undefined ? undefined : attachmentOf(config);
    return attachment?.mode === 'bridge' ? attachment.address : '';
  };
  const sandboxes = (): string[] => [...driver.configs.keys()];
  const settled = (): Promise<void> => eventually(() => assert.deepEqual(sandboxes(), []));

  it('gives addresses that nobody has, and keeps them until the removal', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('create', 'twice', 'end', 'remove'), { maxLength: 40 }),
        async (steps) => {
          open('172.30.0.0/28'); // 13 addresses
          const alive: string[] = [];
          const before = new Map<string, string>();
          for (const step of steps) {
            if (step === 'end') {
              const id = alive[0];
              if (id !== undefined) engine.set(id, 'exited', { status: 'exited', exitCode: 0 });
            } else if (step === 'remove') {
              const id = alive.shift();
              if (id !== undefined) await local.remove(id, { force: true, volumes: false });
            } else {
              const tries = await Promise.allSettled(
                step === 'twice' ? [create(), create()] : [create()],
              );
              for (const outcome of tries) {
                if (outcome.status === 'fulfilled') alive.push(outcome.value);
                else assert.ok(alive.length >= 12, String(outcome.reason));
              }
            }
            const addresses = alive.map(addressOf);
            assert.equal(new Set(addresses).size, alive.length);
            for (const [i, id] of alive.entries()) {
              assert.equal(before.get(id) ?? addresses[i], addresses[i]);
              before.set(id, addresses[i] ?? '');
            }
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('says what to do when there is no address left', async () => {
    open('172.30.0.0/29');
    for (let i = 0; i < 5; i++) await create();
    await assert.rejects(create(), {
      kind: 'resource-exhausted',
      message: /"bridge" has no free address: .* all of 172\.30\.0\.0\/29; .* bridgeSubnet/,
    });
    assert.equal(sandboxes().length, 5);
  });

  it('leaves nothing of a container that cannot be made', async () => {
    engine.createError = new Error('no space');
    await assert.rejects(create({ ports: [{ targetPort: 80, publishedPort: 80 }] }), /no space/);
    assert.deepEqual(sandboxes(), []);
    engine.createError = undefined;
    const id = await create({ ports: [{ targetPort: 80, publishedPort: 80 }] });
    assert.equal(engine.get(id)?.config.netns, `/run/netns/local-${id}`);
  });

  it('lets two that come at once not have the same port', async () => {
    const ports = [{ targetPort: 80, publishedPort: 80 }];
    const outcomes = await Promise.allSettled([create({ ports }), create({ ports })]);
    assert.deepEqual(outcomes.map((o) => o.status).sort(), ['fulfilled', 'rejected']);
  });

  it('lets one of those that start at once have a port that they share', async () => {
    const request = { ports: [{ targetPort: 80, publishedPort: 80 }] };
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      const id = await create(request);
      ids.push(id);
      engine.set(id, 'exited', { status: 'exited' });
      await settled();
    }
    const port = { protocol: 'tcp' as const, hostIp: '', publishedPort: 80, targetPort: 8080 };
    const task = { id: 't1', attachments: [], hostPorts: [port] };
    const outcomes = await Promise.allSettled([
      ...ids.map((id) => local.start(id)),
      networks.ports.takeForTask([port], () => driver.attach(task)),
    ]);
    assert.deepEqual(outcomes.map((o) => o.status).sort(), [
      ...['fulfilled', 'rejected', 'rejected', 'rejected'],
    ]);
    await eventually(() => assert.equal(sandboxes().length, 1));
  });

  describe('beside a network of the cluster that overlaps', () => {
    const shop = NetworkConfig.fromPartial({
      name: 'shop',
      subnets: [{ subnet: '172.30.8.0/24' }],
    });
    const subnet = (...cluster: NetworkConfig[]): string =>
      networks.part(cluster).networks[0]?.subnets[0]?.subnet ?? '';

    it('moves while nobody is on the own one', async () => {
      assert.equal(subnet(shop), '172.20.0.0/16');
      const id = await create();
      assert.equal(addressOf(id), '172.20.0.2/16');
    });

    it('lets nobody else on it until all who are there are gone', async () => {
      const id = await create();
      assert.equal(subnet(shop), '172.30.0.0/16');
      await assert.rejects(create(), {
        kind: 'failed-precondition',
        message: /172\.30\.0\.0\/16 overlaps network "shop" of the cluster \(172\.30\.8\.0\/24\)/,
      });
      await local.start(id);
      await create({ networkMode: 'none' });
      await local.remove(id, { force: true, volumes: false });
      assert.equal(subnet(shop), '172.20.0.0/16');
      await create();
    });

    it('goes on when that network is removed', async () => {
      await create();
      subnet(shop);
      assert.equal(subnet(), '172.30.0.0/16');
      await create();
    });
  });

  it('gives the sandbox back at the end, and has it again for the next start', async () => {
    const ports = [{ targetPort: 80, publishedPort: 80 }];
    const id = await create({ name: 'web', ports });
    const [config] = driver.configs.values();
    await local.start('web');
    engine.set(id, 'exited', { status: 'exited', exitCode: 1 });
    await settled();
    await local.start('web');
    assert.deepEqual([...driver.configs.values()], [config]);
    await local.restart('web', {});
    await local.sweep();
    assert.deepEqual([...driver.configs.values()], [config], 'a restart keeps it');
    engine.set(id, 'exited', { status: 'exited', exitCode: 1 });
    await settled();
    used = [{ protocol: 'tcp', hostIp: '', port: 80, holder: 'service "shop"' }];
    await assert.rejects(local.start('web'), { message: /taken by service "shop"/ });
    assert.equal(engine.get(id)?.status, 'exited');
  });

  it('keeps the sandbox of a container that its rule starts again', async () => {
    const id = await create({ restartPolicy: { name: 'always' } });
    await local.start(id);
    engine.set(id, 'exited', { status: 'restarting' });
    await local.sweep();
    assert.equal(sandboxes().length, 1);
    driver.configs.clear(); // the power was lost
    const config = engine.get(id)?.config ?? assert.fail();
    await local.beforeRestart(config);
    assert.deepEqual(sandboxes(), [`local-${id}`]);
  });

  it('gives the sandbox back when a start fails', async () => {
    const id = await create();
    await local.start(id);
    engine.set(id, 'exited', { status: 'exited' });
    await settled();
    engine.startError = new Error('exec: not found');
    await assert.rejects(local.start(id), /not found/);
    await settled();
  });

  it('sweeps what a crash left, and leaves what runs and what is not its own', async () => {
    const id = await create();
    for (const other of ['local-gone', 't1']) {
      await driver.attach({ id: other, attachments: [], hostPorts: [] });
    }
    await local.sweep();
    assert.deepEqual(sandboxes().sort(), [`local-${id}`, 't1']);
  });

  it('removes the sandbox with the container, also when the engine removed it', async () => {
    const id = await create({ autoRemove: true });
    await local.start(id);
    await engine.remove(id);
    await settled();
  });

  it('refuses the containers of tasks, saying what to do', async () => {
    const labels = {
      'com.docker.swarm.task.id': 't1',
      'com.docker.swarm.task.name': 'shop.2.t1',
      'com.docker.swarm.service.name': 'shop',
    };
    const config = aConfig({ id: 't1', name: 'shop.2.t1', labels });
    engine.states.set('t1', { ...createdContainer(config), status: 'running' });
    const message =
      'cannot remove container "shop.2.t1": it runs task shop.2 of the cluster; use "hatoba service scale shop=N", "hatoba service update shop" or "hatoba service rm shop"';
    await assert.rejects(local.remove('t1', { force: true, volumes: true }), { message });
    await assert.rejects(local.start('t1'), { kind: 'failed-precondition' });
    engine.set('t1', 'exited', { status: 'exited' });
    assert.deepEqual(await local.prune(0, Number.MAX_SAFE_INTEGER), []);
    assert.ok(engine.get('t1'));
    assert.equal(changes, 0);
  });

  it('prunes what ended long enough ago', async () => {
    const [old, fresh, running] = [await create(), await create(), await create()];
    engine.set(old, 'exited', { status: 'exited', finishedAtMs: 1000 });
    engine.set(fresh, 'exited', { status: 'exited', finishedAtMs: 9000 });
    await local.start(running);
    assert.deepEqual(await local.prune(5000, 10_000), [{ id: old, sizeBytes: 10 }]);
    assert.deepEqual([...engine.states.keys()], [fresh, running]);
  });

  it('says why there is no network yet, unless none is needed', async () => {
    networkWait = 'network "bridge" is not there on this node: it is being made';
    await assert.rejects(create(), { kind: 'unavailable', message: networkWait });
    const id = await create({ networkMode: 'host' });
    assert.equal(engine.get(id)?.config.netns, 'host');
  });

  it('tells names and addresses of who runs, the same object while nothing changes', async () => {
    const id = await create({ name: 'web', spec: { hostname: 'shop' } });
    await create({ name: 'other', networkMode: 'none' });
    const [created] = networks.part([]).endpoints;
    assert.equal(created?.ready, false);
    await local.start('web');
    const [endpoint] = networks.part([]).endpoints;
    assert.deepEqual(endpoint, {
      networkId: 'local-bridge',
      taskId: id,
      serviceId: '',
      nodeId: 'n1',
      address: '172.30.0.2',
      slot: 0,
      aliases: [id.slice(0, 12), 'shop'],
      name: 'web',
      ready: true,
    });
    assert.equal(networks.part([]).endpoints[0], endpoint);
    assert.equal(networks.part([]).networks[0], networks.part([]).networks[0]);
  });

  it('keeps its ports from tasks', async () => {
    await create({ name: 'web', ports: [{ targetPort: 80, publishedPort: 80 }] });
    const port = { protocol: 'tcp' as const, hostIp: '', publishedPort: 80, targetPort: 8080 };
    await driver.attach({ id: 't1', attachments: [], hostPorts: [{ ...port, publishedPort: 81 }] });
    const attach = (): Promise<string> => Promise.resolve('attached');
    const taken = { message: /taken by container "web"/ };
    await assert.rejects(networks.ports.takeForTask([port], attach), taken);
    assert.equal(
      await networks.ports.takeForTask([{ ...port, protocol: 'udp' }], attach),
      'attached',
    );
    // of tasks among themselves the cluster decides
    assert.equal(
      await networks.ports.takeForTask([{ ...port, publishedPort: 81 }], attach),
      'attached',
    );
  });

  it('releases what was attached for a restart that nobody wants any more', async () => {
    const id = await create({ restartPolicy: { name: 'always' } });
    await local.start(id);
    engine.set(id, 'exited', { status: 'exited', exitCode: 143 });
    await settled();
    await local.beforeRestart(engine.get(id)?.config ?? assert.fail());
    await settled();
  });

  it('publishes on addresses of this host alone', async () => {
    const at = (hostIp: string): Promise<string> =>
      create({ ports: [PortConfig.fromPartial({ targetPort: 80, hostIp })] });
    await at('10.0.0.1');
    await at('127.0.0.5');
    await assert.rejects(at('10.0.0.2'), { message: /does not have that address/ });
    await assert.rejects(at('::1'), { message: /IPv4/ });
  });
});
