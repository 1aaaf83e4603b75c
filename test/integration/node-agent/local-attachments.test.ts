import assert from 'node:assert/strict';
import { NetworkConfig, NetworkPeer } from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { unary } from '../../../proto/wire/client.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { askTcp } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig, port } from './local-rig.js';
import { TestManager } from './test-manager.js';

const HOST_ADDRESS = '192.0.2.1';

function overlay(name: string, vni: number, prefix: string): NetworkConfig {
  return NetworkConfig.fromPartial({
    ...{ networkId: `id-${name}`, vni, name, driver: 'overlay' },
    subnets: [{ subnet: `${prefix}.0/24`, gateway: `${prefix}.1` }],
  });
}

describe('containers of one node on networks of the cluster', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox', 'nft'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    manager.attachable.push(overlay('front', 4097, '10.21.0'), overlay('back', 4098, '10.22.0'));
    const peer = { nodeId: 'n1', index: 1, dataPathAddress: HOST_ADDRESS };
    manager.assign({ $case: 'peer', value: NetworkPeer.fromPartial(peer) });
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(
      await dockerArchive(await busyboxImage({ tag: 'box:1', applets: ['ip', 'hostname'] })),
    );
    await connected();
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
    for (const { id } of await rig.list()) await rig.remove(id);
    await eventually(() => assert.deepEqual(host.leftovers(), []));
    await eventually(() => assert.deepEqual([...manager.attachments.keys()], []));
  });

  /** Once a manager answers for attachments. */
  const connected = (): Promise<void> =>
    eventually(async () => {
      await rig.remove(await rig.create({ networkMode: 'front' }));
    });
  const known = (): string[] =>
    [...manager.attachments.values()]
      .map(({ containerName, network, active }) => `${containerName} ${network} ${String(active)}`)
      .sort();

  it('reach each other by name and alias, and are reached at the ports they publish', async () => {
    const web = await rig.serve('web', {
      networks: [{ network: 'front', aliases: ['www'] }, { network: 'back' }],
      ports: [port(80, 8080)],
    });
    const [front, back] = web.networks;
    assert.match(front?.ipAddress ?? '', /^10\.21\.0\.\d+$/);
    assert.match(back?.ipAddress ?? '', /^10\.22\.0\.\d+$/);
    assert.deepEqual([web.networkMode, front?.name, front?.aliases], ['front', 'front', ['www']]);
    assert.deepEqual(known(), ['web id-back true', 'web id-front true']);
    for (const name of ['web', 'www', front?.ipAddress ?? '']) {
      assert.equal(await rig.say(`nc -w 3 ${name} 80`, { networkMode: 'front' }), 'web', name);
    }
    assert.match(
      await rig.say('nc -w 3 www 80 || echo nobody', { networkMode: 'back' }),
      /nobody/,
      'an alias is of its network alone',
    );
    assert.equal(await askTcp(host.netnsPath, HOST_ADDRESS, 8080), 'web');
  });

  it('have the address that they ask for', async () => {
    const { networks } = await rig.serve('web', {
      networks: [{ network: 'back', ipAddress: '10.22.0.77' }],
    });
    assert.equal(networks[0]?.ipAddress, '10.22.0.77');
  });

  it('keep their addresses and names while no manager is there, and give them back later', async () => {
    const web = await rig.serve('web', { networkMode: 'front' });
    await rig.serve('old', { networkMode: 'front' });
    await manager[Symbol.asyncDispose]();
    await eventually(() =>
      assert.rejects(rig.create({ networkMode: 'front' }), {
        message: /network "front" cannot be joined: the managers/,
      }),
    );
    await rig.remove('old');
    const { engine } = host;
    const restart = { container: 'web', signal: '', graceMs: 0 };
    const again = await unary(engine.containerRestart.bind(engine), restart);
    assert.deepEqual(again.networks, web.networks);
    await host.stop('SIGKILL');
    await host.start();
    const later = await unary(engine.containerRestart.bind(engine), restart);
    assert.deepEqual(later.networks, web.networks);
    await rig.serve('plain');
    assert.deepEqual(known(), ['old id-front true', 'web id-front true']);
    await manager.listen();
    await eventually(() => assert.deepEqual(known(), ['web id-front true']));
    await eventually(async () => {
      assert.equal(await rig.say('nc -w 3 web 80', { networkMode: 'front' }), 'web');
    });
  });

  it('tell when they end and start again', async () => {
    const { id } = await rig.serve('web', { networkMode: 'front' });
    const { engine } = host;
    const kill = { container: id, signal: '' };
    await unary(engine.containerKill.bind(engine), kill);
    await eventually(() => assert.deepEqual(known(), ['web id-front false']));
    await unary(engine.containerStart.bind(engine), { container: id });
    assert.deepEqual(known(), ['web id-front true']);
  });

  it('say that there is no such network', async () => {
    await assert.rejects(rig.create({ networkMode: 'nowhere' }), {
      kind: 'not-found',
      message: /no network has the name or id "nowhere"/,
    });
  });

  it('are told apart from those on the network of the node', async () => {
    await rig.serve('web', { networkMode: 'front' });
    const box = await rig.serve('box');
    const { engine } = host;
    const { networks } = await unary(engine.networkList.bind(engine), {});
    const [bridge] = networks;
    assert.equal(bridge?.name, 'bridge');
    assert.deepEqual(
      bridge.containers.map(({ name }) => name),
      ['box'],
    );
    assert.equal(bridge.containers[0]?.address, `${box.networks[0]?.ipAddress ?? ''}/16`);
  });
});
