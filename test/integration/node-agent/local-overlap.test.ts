import assert from 'node:assert/strict';
import { NetworkConfig, NetworkPeer } from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { NetworkAttachment, Task, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { askTcp } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { AgentHost } from './agent-host.js';
import { LocalRig, port } from './local-rig.js';
import { TestManager } from './test-manager.js';

const HOST_ADDRESS = '192.0.2.1';

describe('a network of the cluster that overlaps the bridge of a node', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox', 'nft'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(await dockerArchive(await busyboxImage({ tag: 'box:1' })));
  });
  after(async () => {
    await (host as AgentHost | undefined)?.tearDown();
    await (manager as TestManager | undefined)?.[Symbol.asyncDispose]();
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
  });

  const overlay = (networkId: string, vni: number, prefix: string): NetworkConfig =>
    NetworkConfig.fromPartial({
      ...{ networkId, vni, name: networkId, driver: 'overlay' },
      subnets: [{ subnet: `${prefix}.0/24`, gateway: `${prefix}.1` }],
    });
  const taskOn = (id: string, networkId: string, address: string): Task =>
    Task.fromPartial({
      ...{ id, serviceId: 'svc', serviceName: 'shop', slot: 1, nodeId: 'n1' },
      desiredState: TaskState.RUNNING,
      status: { state: TaskState.ASSIGNED, timestampMs: 1 },
      networksAttachments: [
        NetworkAttachment.fromPartial({ networkId, networkName: networkId, addresses: [address] }),
      ],
      spec: { containerSpec: { image: 'box:1', args: ['sleep', '100'], stopGracePeriodMs: 0 } },
    });
  const stateOf = (id: string): TaskState | undefined => manager.statuses.get(id)?.state;
  const bridgeAddress = async (name: string): Promise<string> =>
    (await rig.inspect(name)).networks[0]?.ipAddress ?? '';

  it('waits while containers are there, and stops nothing else', async () => {
    await rig.serve('web', { ports: [port(80, 8080)] });
    assert.match(await bridgeAddress('web'), /^172\.30\.0\./);
    const peer = { nodeId: 'n1', index: 1, dataPathAddress: HOST_ADDRESS };
    manager.assign(
      { $case: 'peer', value: NetworkPeer.fromPartial(peer) },
      { $case: 'network', value: overlay('wide', 4097, '172.30.8') },
      { $case: 'network', value: overlay('fine', 4098, '10.20.0') },
    );
    manager.assignTask(taskOn('t1', 'wide', '172.30.8.5/24'));
    manager.assignTask(taskOn('t2', 'fine', '10.20.0.5/24'));
    await eventually(() => assert.equal(stateOf('t2'), TaskState.RUNNING));
    await eventually(() => {
      assert.match(
        manager.statuses.get('t1')?.message ?? '',
        /waiting for network "wide" on this node: its subnet 172\.30\.8\.0\/24 overlaps 172\.30\.0\.0\/16/,
      );
    });
    assert.equal(await askTcp(host.netnsPath, HOST_ADDRESS, 8080), 'web');
    await assert.rejects(rig.serve('more'), { message: /overlaps network "wide" of the cluster/ });
  });

  it('is there once they are gone: the bridge has moved', async () => {
    await rig.remove('web');
    await eventually(() => assert.equal(stateOf('t1'), TaskState.RUNNING));
    await eventually(() => rig.serve('next', { ports: [port(80, 8080)] }));
    const address = await bridgeAddress('next');
    assert.doesNotMatch(address, /^172\.30\./);
    assert.equal(await askTcp(host.netnsPath, HOST_ADDRESS, 8080), 'next');
    assert.equal(await rig.say('nc -w 3 next 80'), 'next');
    await rig.remove('next');
    for (const id of ['t1', 't2']) {
      manager.unassign({ $case: 'task', value: Task.fromPartial({ id }) });
    }
    await eventually(() => assert.deepEqual(host.leftovers(), []));
  });
});
