import assert from 'node:assert/strict';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { askMany, askTcp, askUdp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, network, peers, service } from './cluster.js';

type HostPorts = Parameters<LabHost['attach']>[0]['hostPorts'];

/** A bridge of one host, first without any cluster, then beside an overlay network of two hosts. */
describe('a bridge network of one host', function () {
  let lab: NetLab;
  let host: LabHost;
  let close = (): Promise<void> => Promise.resolve();
  const bridge = network('local', 0, {
    name: 'bridge',
    driver: 'bridge',
    subnets: [{ subnet: '172.30.0.0/16', gateway: '172.30.0.1' }],
    vni: 0,
  });
  const alone: Omit<NetworkState, 'nodeId'> = {
    networks: [bridge],
    endpoints: [
      endpoint('local', 'n1', '', 1, '172.30.0.2'),
      { ...endpoint('local', 'n1', '', 2, '172.30.0.3'), name: 'web', aliases: ['c0ffee'] },
      endpoint('local', 'n1', 'shop', 1, '172.30.0.4'),
      endpoint('local', 'n1', 'shop', 2, '172.30.0.5'),
    ],
    services: [service('local', 'shop', '172.30.0.9')],
    peers: [],
  };
  const box = new Map<string, Sandbox>();
  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'busybox']) requiresCommand(this, command);
    lab = new NetLab();
    close = () => lab.close();
    host = await lab.addHost();
    await host.apply(alone);
    await lab.serve(`/run/netns/${lab.client}`, 'outside', [80]);
    await attach('one', '172.30.0.2', []);
    await attach('shop1', '172.30.0.4', []);
    await attach('shop2', '172.30.0.5', []);
    await attach('web', '172.30.0.3', [
      { protocol: 'tcp', hostIp: '', publishedPort: 8080, targetPort: 80 },
      { protocol: 'udp', hostIp: '', publishedPort: 8080, targetPort: 80 },
      { protocol: 'tcp', hostIp: '127.0.0.1', publishedPort: 8081, targetPort: 80 },
    ]);
  });
  after(() => close());

  async function attach(id: string, address: string, hostPorts: HostPorts): Promise<void> {
    const attachments = [{ networkId: 'local', address: `${address}/16` }];
    const sandbox = await host.attach({ id, attachments, hostPorts });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  it('joins its containers, which know each other by name', async () => {
    assert.equal(await askTcp(path('one'), '172.30.0.3'), 'web 172.30.0.2');
    assert.equal(await askUdp(path('one'), '172.30.0.3'), 'web 172.30.0.2');
    for (const name of ['web', 'c0ffee', 'web.bridge']) {
      const answer = await runIn(path('one'), 'busybox', 'nslookup', name, '172.30.0.1');
      assert.match(answer, /172\.30\.0\.3/, name);
    }
  });

  it('spreads a virtual address over its tasks, for themselves too', async () => {
    for (const [from, address] of [
      ['one', '172.30.0.2'],
      ['shop1', '172.30.0.4'],
    ] as const) {
      const target = { host: '172.30.0.9', port: 80, count: 60 };
      const answers = await askMany(path(from), 'tcp', target);
      const self = from === 'shop1' ? '172.30.0.1' : address; // itself it sees as the gateway
      assert.deepEqual([...answers.keys()].sort(), [`shop1 ${self}`, `shop2 ${address}`]);
    }
  });

  it('leads to the outside, by the address of the host', async () => {
    assert.equal(await askTcp(path('one'), '192.0.2.50'), 'outside 192.0.2.1');
  });

  it('publishes ports to the outside, which sees its own address there', async () => {
    const client = `/run/netns/${lab.client}`;
    assert.equal(await askTcp(client, host.address, 8080), 'web 192.0.2.50');
    assert.equal(await askUdp(client, host.address, 8080), 'web 192.0.2.50');
    assert.match(await askTcp(client, host.address, 8081), /refused/);
  });

  it('publishes ports to the host itself, by 127.0.0.1 and by its own addresses', async () => {
    for (const address of ['127.0.0.1', host.address, '172.30.0.1']) {
      // 127.0.0.1 is nobody's own: the gateway stands for the host there
      const seen = address === '127.0.0.1' ? '172.30.0.1' : address;
      assert.equal(await askTcp(host.netnsPath, address, 8080), `web ${seen}`);
      assert.equal(await askUdp(host.netnsPath, address, 8080), `web ${seen}`);
    }
    assert.equal(await askTcp(host.netnsPath, '127.0.0.1', 8081), 'web 172.30.0.1');
    assert.match(await askTcp(host.netnsPath, host.address, 8081), /refused/);
  });

  it('publishes ports to containers too, even to the one that is behind them', async () => {
    assert.equal(await askTcp(path('one'), host.address, 8080), 'web 172.30.0.2');
    assert.equal(await askTcp(path('one'), '172.30.0.1', 8080), 'web 172.30.0.2');
    assert.match(await askTcp(path('web'), host.address, 8080), /^web 172/);
  });

  it('cannot be entered from the outside by its addresses', async () => {
    const client = `/run/netns/${lab.client}`;
    await runIn(client, 'ip', 'route', 'add', '172.30.0.0/16', 'via', host.address);
    assert.doesNotMatch(await askTcp(client, '172.30.0.3'), /web/);
  });

  it('keeps its connections when the host joins a cluster, apart from its networks', async () => {
    const joined = {
      ...alone,
      networks: [network('app', 1), bridge],
      endpoints: [...alone.endpoints, endpoint('app', 'n1', '', 1, '10.128.1.10')],
      peers: peers(lab.hosts),
    };
    await host.apply(joined);
    const attachments = [{ networkId: 'app', address: '10.128.1.10/24' }];
    const sandbox = await host.attach({ id: 'task', attachments, hostPorts: [] });
    box.set('task', sandbox);
    await lab.serve(sandbox.netnsPath, 'task');
    assert.equal(await askTcp(path('one'), '172.30.0.3'), 'web 172.30.0.2');
    assert.match(await askTcp(host.netnsPath, '127.0.0.1', 8080), /^web 172/);
    assert.doesNotMatch(await askTcp(path('one'), '10.128.1.10'), /task/);
    assert.doesNotMatch(await askTcp(path('task'), '172.30.0.3'), /web/);
    // a container of another network is seen as its host
    assert.equal(await askTcp(path('task'), host.address, 8080), 'web 172.30.0.1');
  });

  it('is taken up by the next process, and goes with its last state', async () => {
    await host.stop();
    assert.match(await askTcp(`/run/netns/${lab.client}`, host.address, 8080), /^web/);
    await host.start();
    await host.apply(alone);
    assert.equal(await askTcp(path('one'), '172.30.0.3'), 'web 172.30.0.2');
    await host.detach('web');
    assert.match(await askTcp(host.netnsPath, '127.0.0.1', 8080), /refused/);
    await host.teardown();
    const links = await runIn(host.netnsPath, 'ip', '-br', 'link');
    assert.doesNotMatch(links, /hl|hb/);
  });
});
