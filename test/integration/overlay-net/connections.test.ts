import assert from 'node:assert/strict';
import type { NetworkState, Sandbox, SandboxConfig } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { NetLab, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';
import { Talks } from '../../support/talks.js';

type State = Omit<NetworkState, 'nodeId'>;
type Kind = 'tcp' | 'udp';

const [CLIENT, A, B] = ['10.128.1.10', '10.128.1.11', '10.128.1.12'];
const [INGRESS_A, INGRESS_B] = ['10.128.0.11', '10.128.0.12'];
const VIP = '10.128.1.2';
const PUBLISHED = 8080;
const HOST_PORT = 9090;

/** `web` has a task on each of two hosts, `a` on n1 and `b` on n2; a client is on n1 and one outside. */
describe('connections to tasks that leave', function () {
  let lab: NetLab;
  const talks = new Talks();
  let outside = '';
  const box = new Map<string, Sandbox>();
  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);
  const host = (index: number): LabHost => lab.hosts[index - 1] ?? assert.fail(`no n${index}`);

  type Task = 'ready' | 'leaving' | 'gone';
  const stateWith = (a: Task, b: Task): State => {
    const task = (slot: number, node: string, is: Task, app: string, ingress: string) =>
      is === 'gone'
        ? []
        : [
            { ...endpoint('app', node, 'web', slot, app), ready: is === 'ready' },
            { ...endpoint('ingress', node, 'web', slot, ingress), ready: is === 'ready' },
          ];
    const ports = [ingressPort(PUBLISHED), ingressPort(PUBLISHED, 'PORT_PROTOCOL_UDP')];
    return {
      networks: [network('ingress', 0, { ingress: true }), network('app', 1)],
      endpoints: [
        endpoint('app', 'n1', '', 1, CLIENT),
        ...task(1, 'n1', a, A, INGRESS_A),
        ...task(2, 'n2', b, B, INGRESS_B),
      ],
      services: [service('app', 'web', VIP), service('ingress', 'web', '10.128.0.2', { ports })],
      peers: peers(lab.hosts),
    };
  };
  const apply = async (a: Task, b: Task): Promise<void> => {
    for (const each of lab.hosts) await each.apply(stateWith(a, b));
  };
  const attach = async (index: number, name: string, ...addresses: string[]): Promise<void> => {
    const config: SandboxConfig = {
      id: name,
      attachments: addresses.map((address) => ({
        networkId: address.startsWith('10.128.0.') ? 'ingress' : 'app',
        address: `${address}/24`,
      })),
      hostPorts:
        name === 'alone'
          ? [{ protocol: 'tcp', hostIp: '', publishedPort: HOST_PORT, targetPort: 80 }]
          : [],
    };
    box.set(name, await host(index).attach(config));
  };

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter']) requiresCommand(this, command);
    lab = new NetLab();
    outside = `/run/netns/${lab.client}`;
    for (let i = 0; i < 2; i++) await lab.addHost();
    await apply('ready', 'ready');
    await attach(1, 'client', CLIENT);
    await attach(1, 'a', A, INGRESS_A);
    await attach(2, 'b', B, INGRESS_B);
    await talks.serve(path('a'), 'a');
    await talks.serve(path('b'), 'b');
  });
  after(async () => {
    await talks.close();
    if (outside === '') return;
    for (const each of lab.hosts) await each.teardown();
    await lab.close();
  });

  /** Who asks whom: a container by the virtual address, and somebody outside by either host. */
  const ways: { name: string; open: (kind: Kind) => ReturnType<Talks['connect']> }[] = [
    { name: 'a virtual address', open: (kind) => talks.connect(path('client'), kind, VIP) },
    {
      name: "a port published by the task's own host",
      open: (kind) => talks.connect(outside, kind, host(1).address, PUBLISHED),
    },
    {
      name: 'a port published by another host',
      open: (kind) => talks.connect(outside, kind, host(2).address, PUBLISHED),
    },
  ];
  for (const { name, open } of ways) {
    it(`go on by ${name} while it leaves, and are reset when it is gone`, async () => {
      await apply('ready', 'leaving');
      const talk = await open('tcp');
      assert.equal(await talk.say(), 'a');
      await apply('leaving', 'ready');
      assert.equal(await talk.say(), 'a');
      const later = await open('tcp');
      assert.equal(await later.say(), 'b');
      await apply('gone', 'ready');
      // its process still answers here: that nothing gets to it is the doing of the hosts
      await eventually(async () => assert.equal(await talk.say(), 'ECONNRESET'));
      assert.equal(await later.say(), 'b');
      await Promise.all([talk.end(), later.end()]);
    });

    it(`of single packets go elsewhere by ${name} as soon as it leaves`, async () => {
      await apply('ready', 'leaving');
      const talk = await open('udp');
      assert.equal(await talk.say(), 'a');
      await apply('leaving', 'ready');
      await eventually(async () => assert.equal(await talk.say(), 'b'));
      assert.equal(await talk.say(), 'b');
      await talk.end();
    });

    it(`are reset by ${name} also when nobody is left`, async () => {
      await apply('ready', 'gone');
      const talk = await open('tcp');
      assert.equal(await talk.say(), 'a');
      await apply('gone', 'gone');
      await eventually(async () => assert.equal(await talk.say(), 'ECONNRESET'));
      await talk.end();
    });
  }

  it('are counted where the task is, those of others to it alone, until they end', async () => {
    await apply('ready', 'leaving');
    const [inside, published] = [await ways[0]?.open('tcp'), await ways[2]?.open('tcp')];
    assert.deepEqual([await inside?.say(), await published?.say()], ['a', 'a']);
    assert.equal(await host(1).openConnections(A, INGRESS_A), 2);
    assert.equal(await host(1).openConnections(A), 1);
    assert.equal(await host(1).openConnections(CLIENT), 0);
    assert.equal(await host(2).openConnections(B, INGRESS_B), 0);
    await Promise.all([inside?.end(), published?.end()]);
    await eventually(async () => {
      assert.equal(await host(1).openConnections(A, INGRESS_A), 0);
    });
  });

  it('that a former process has left behind are reset, all others go on', async () => {
    await apply('leaving', 'ready');
    const toB = await talks.connect(path('client'), 'tcp', VIP);
    assert.equal(await toB.say(), 'b');
    const toA = await talks.connect(path('client'), 'tcp', A);
    assert.equal(await toA.say(), 'a');
    await host(1).stop();
    await host(1).start();
    await host(1).apply(stateWith('ready', 'gone'));
    await host(1).endStaleConnections();
    assert.equal(await toB.say(), 'ECONNRESET');
    assert.equal(await toA.say(), 'a');
    await Promise.all([toA.end(), toB.end()]);
  });

  it('to a port of the host alone are reset when its container is gone', async () => {
    await apply('gone', 'ready');
    await attach(1, 'alone', '10.128.1.20');
    await talks.serve(path('alone'), 'alone');
    const talk = await talks.connect(outside, 'tcp', host(1).address, HOST_PORT);
    assert.equal(await talk.say(), 'alone');
    await host(1).detach('alone');
    await eventually(async () => assert.equal(await talk.say(), 'ECONNRESET'));
    await talk.end();
  });
});
