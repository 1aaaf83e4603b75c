import assert from 'node:assert/strict';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, askUdp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';
import { FORGER } from './programs.js';

/**
 * Two hosts with services of their own on port 22, and a network `open` whose containers may reach
 * them. `near` and `far` are on one network, `other` on another.
 */
describe('networks apart from each other and from the hosts', function () {
  let lab: NetLab;
  let n1: LabHost, n2: LabHost;
  let close = (): Promise<void> => Promise.resolve();
  let state: Omit<NetworkState, 'nodeId'>;
  const box = new Map<string, Sandbox>();
  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'busybox', 'python3']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    close = () => lab.close();
    [n1, n2] = [await lab.addHost(), await lab.addHost()];
    state = {
      networks: [
        network('ingress', 0, { ingress: true }),
        network('app', 1),
        network('other', 2),
        network('open', 3, { hostAccess: true }),
        network('closed', 4, { internal: true }),
      ],
      endpoints: [
        endpoint('app', 'n1', '', 1, '10.128.1.10'),
        endpoint('app', 'n2', '', 2, '10.128.1.11'),
        endpoint('other', 'n1', '', 3, '10.128.2.10'),
        endpoint('open', 'n1', '', 4, '10.128.3.10'),
        endpoint('closed', 'n1', '', 5, '10.128.4.10'),
        endpoint('ingress', 'n2', 'web', 1, '10.128.0.21'),
        endpoint('app', 'n2', 'api', 1, '10.128.1.31'),
      ],
      services: [
        service('ingress', 'web', '10.128.0.5', {
          ports: [
            ingressPort(8080),
            ingressPort(8080, 'PORT_PROTOCOL_UDP'),
            { ...ingressPort(8081), hostIp: '192.0.2.2' },
          ],
        }),
        service('app', 'api', '10.128.1.2'),
      ],
      peers: peers(lab.hosts),
    };
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    for (const host of lab.hosts) await lab.serve(host.netnsPath, host.id, [22, 8443]);
    await attach(n1, 'near', 'app', '10.128.1.10');
    await attach(n2, 'far', 'app', '10.128.1.11');
    await attach(n1, 'other', 'other', '10.128.2.10');
    await attach(n1, 'open', 'open', '10.128.3.10');
    await attach(n1, 'closed', 'closed', '10.128.4.10');
    await attach(n2, 'web', 'ingress', '10.128.0.21');
    await attach(n2, 'api', 'app', '10.128.1.31');
    await lab.serve(`/run/netns/${lab.client}`, 'outside', [80]);
  });
  after(() => close());

  async function attach(host: LabHost, id: string, on: string, address: string): Promise<void> {
    const attachments = [{ networkId: on, address: `${address}/24` }];
    const sandbox = await host.attach({ id, attachments, hostPorts: [] });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }
  const ping = (from: string, to: string): Promise<string> =>
    runIn(path(from), 'busybox', 'ping', '-c', '1', '-W', '1', to);

  it('refuse a container what listens on its own host, by any address of it', async () => {
    const hosts = [n1.address, '10.128.1.1', '10.128.2.1'];
    for (const [from, addresses] of [
      ['near', hosts],
      ['other', hosts],
      ['closed', ['10.128.4.1']], // has no way to any other
    ] as const) {
      for (const address of addresses) {
        assert.match(await askTcp(path(from), address, 22), /refused/, `${from} to ${address}`);
        assert.equal(
          await askUdp(path(from), address, 22),
          'EHOSTUNREACH',
          `${from} to ${address}`,
        );
      }
    }
  });

  it('let it ask its own gateway for names, and ping it', async () => {
    assert.match(await ping('near', '10.128.1.1'), / 0% packet loss/);
    assert.doesNotMatch(await ping('near', '10.128.2.1'), / 0% packet loss/);
    assert.doesNotMatch(await ping('near', n1.address), / 0% packet loss/);
    assert.match(
      await runIn(path('near'), 'busybox', 'nslookup', '-type=a', 'api', '10.128.1.1'),
      /10\.128\.1\.2/,
    );
    assert.equal(await askUdp(path('near'), n1.address, 53), 'EHOSTUNREACH');
  });

  it('refuse it what listens on other hosts, but for what is published there', async () => {
    assert.match(await askTcp(path('near'), n2.address, 22), /refused/);
    assert.equal(await askUdp(path('near'), n2.address, 22), 'EHOSTUNREACH');
    assert.doesNotMatch(await ping('near', n2.address), / 0% packet loss/);
    for (const host of lab.hosts) {
      assert.equal(await askTcp(path('near'), host.address, 8080), `web ${n1.address}`);
      assert.equal(await askUdp(path('near'), host.address, 8080), `web ${n1.address}`);
    }
    assert.equal(await askTcp(path('near'), n2.address, 8081), `web ${n1.address}`);
    assert.match(await askTcp(path('near'), n1.address, 8081), /refused/);
    assert.equal(await askTcp(path('near'), '192.0.2.50'), `outside ${n1.address}`);
  });

  it('let containers of a network with access to the hosts reach them', async () => {
    assert.equal(await askTcp(path('open'), n1.address, 22), 'n1 10.128.3.10');
    assert.equal(await askTcp(path('open'), '10.128.3.1', 22), 'n1 10.128.3.10');
    assert.equal(await askTcp(path('open'), n2.address, 22), `n2 ${n1.address}`);
  });

  it('let the hosts reach their containers', async () => {
    assert.equal(await askTcp(n1.netnsPath, '10.128.1.10'), 'near 10.128.1.1');
    assert.match(await runIn(n1.netnsPath, 'busybox', 'ping', '-c', '1', '10.128.1.10'), / 0% /);
  });

  it('refuse one network another at once, by address, virtual address and gateway', async () => {
    for (const target of ['10.128.1.10', '10.128.1.11', '10.128.1.2', '10.128.4.10']) {
      assert.match(await askTcp(path('other'), target), /refused/, target);
      assert.match(await askUdp(path('other'), target), /EHOSTUNREACH|ECONNREFUSED/, target);
    }
  });

  it('take frames of tunnels from hosts of the cluster alone', async () => {
    // as n2 would send it: a question for an echo, by the bridge's MAC, from the container far
    const forge = (netns: string): Promise<string> =>
      runIn(netns, 'python3', '-c', FORGER, 'tunnel', n1.address, String(0x1001));
    const count = async (): Promise<number> => {
      const stats = await runIn(n1.netnsPath, 'ip', '-s', '-j', 'link', 'show', 'hv1001');
      const [link] = JSON.parse(stats) as [{ stats64: { rx: { packets: number } } }];
      return link.stats64.rx.packets;
    };
    const before = await count();
    await forge(`/run/netns/${lab.client}`);
    assert.equal(await count(), before);
    await forge(n2.netnsPath);
    assert.equal(await count(), before + 1);
  });

  describe('with containers that forge', () => {
    const forged = async (host: LabHost): Promise<number> => {
      const text = await runIn(
        host.netnsPath,
        'nft',
        'list',
        'counter',
        'bridge',
        'hatoba',
        'forged',
      );
      return Number(/packets (\d+)/.exec(text)?.[1]);
    };

    /** What must never get to the container far, and what must. */
    const WATCH = `
table netdev watch {
  counter forged { }
  counter own { }
  chain in { type filter hook ingress device eth0 priority 0;
    ether saddr 02:42:0a:80:01:63 counter name forged
    ip saddr 10.128.1.99 counter name forged
    ether saddr 02:42:0a:80:01:0a arp saddr ip 10.128.1.1 counter name forged
    arp saddr ether 02:42:0a:80:01:63 counter name forged
    ether saddr 02:42:0a:80:01:0a ether type { vlan, ip6, 0x88b5 } counter name forged
    udp dport 4001 counter name own
  }
}`;
    const seen = async (what: 'forged' | 'own'): Promise<number> => {
      const text = await runIn(path('far'), 'nft', 'list', 'counter', 'netdev', 'watch', what);
      return Number(/packets (\d+)/.exec(text)?.[1]);
    };
    before(async () => assert.equal(await runIn(path('far'), 'nft', WATCH), ''));

    for (const what of ['mac', 'ip', 'arp', 'arp-mac', 'vlan', 'ipv6', 'other']) {
      it(`let none of their frames out (${what})`, async () => {
        const before = await forged(n1);
        await runIn(path('near'), 'python3', '-c', FORGER, what, '10.128.1.10', '10.128.1.11');
        assert.equal(await forged(n1), before + 3);
        assert.equal(await seen('forged'), 0);
      });
    }

    it('let what is their own out, made by the same program', async () => {
      const before = await forged(n1);
      await runIn(path('near'), 'python3', '-c', FORGER, 'own', '10.128.1.10', '10.128.1.11');
      assert.equal(await forged(n1), before);
      assert.equal(await seen('own'), 3);
    });

    it('know a container by its link from the first moment to the last', async () => {
      const senders = async (): Promise<string[]> => {
        const text = await runIn(n1.netnsPath, 'nft', 'list', 'set', 'bridge', 'hatoba', 'senders');
        return [...text.matchAll(/"(hs\w+)" \. (\S+) \. ([\d.]+)/g)].map((m) => m[3] ?? '');
      };
      const others = await senders();
      await attach(n1, 'brief', 'app', '10.128.1.77');
      assert.deepEqual(
        (await senders()).filter((s) => !others.includes(s)),
        ['10.128.1.77'],
      );
      assert.equal(await askTcp(path('brief'), '10.128.1.10'), 'near 10.128.1.77');
      await n1.detach('brief');
      assert.deepEqual((await senders()).sort(), others.sort());
    });
  });

  // last, as what counts drops may begin anew with the agent
  describe('without an agent', () => {
    it('leave a question for a name unanswered while nobody answers them', async () => {
      await n1.stop();
      const resolver = (server: string): Promise<string> =>
        runIn(path('near'), process.execPath, '-e', UDP_QUESTION, server);
      assert.equal(await resolver('10.128.1.1'), 'silence');
      await n1.start();
      await n1.apply(state);
      await eventually(async () => assert.equal(await resolver('10.128.1.1'), 'answer'));
    });
  });
});

/** Asks a server by a connected socket, which hears of errors: "answer", "silence" or the error. */
const UDP_QUESTION = `
const [, server] = process.argv;
const question = Buffer.from('0001010000010000000000000361706900000100010a', 'hex').subarray(0, 21);
const u = require('dgram').createSocket('udp4');
const end = (text) => { console.log(text); process.exit(0); };
u.on('message', () => end('answer')).on('error', (e) => end(e.code));
u.connect(53, server, () => { u.send(question); setTimeout(() => u.send(question), 300); });
setTimeout(() => end('silence'), 1500);`;
