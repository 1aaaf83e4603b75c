import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, askUdp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';
import { Talks } from '../../support/talks.js';

/** Frames that a host sends and gets on the underlay, as tcpdump prints them. */
class Capture {
  readonly #process;
  #text = '';

  constructor(netns: string, link: string, ...filter: readonly string[]) {
    const command = ['tcpdump', '-i', link, '-nnevvl', '--immediate-mode', '-Z', 'root'];
    this.#process = spawn('nsenter', [`--net=${netns}`, ...command, ...filter]);
    this.#process.stdout.on('data', (chunk: Buffer) => (this.#text += chunk.toString()));
  }

  async started(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#process.stderr.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('listening')) resolve();
      });
    });
    return this;
  }

  get text(): string {
    return this.#text;
  }

  /** What was seen until a frame that matches, which the caller has sent last. */
  async until(last: RegExp): Promise<string> {
    await eventually(() => assert.match(this.#text, last));
    const ended = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.kill('SIGINT');
    await ended;
    return this.#text;
  }
}

/**
 * Two hosts in different subnets of the underlay with a router between them. Network "app" has two
 * subnets; "other" has a port of its own for its tunnels.
 */
describe('the data path between hosts', function () {
  let lab: NetLab;
  let n1: LabHost, n2: LabHost;
  let router = '';
  let state: Omit<NetworkState, 'nodeId'>;
  let close = (): Promise<void> => Promise.resolve();
  const talks = new Talks();
  const box = new Map<string, Sandbox>();

  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);
  const outside = (): string => `/run/netns/${lab.client}`;

  async function attach(host: LabHost, id: string, on: Record<string, string>): Promise<void> {
    const attachments = Object.entries(on).map(([networkId, a]) => ({
      networkId,
      address: `${a}/24`,
    }));
    const sandbox = await host.attach({ id, attachments, hostPorts: [] });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  async function shell(netns: string, script: string): Promise<string> {
    return await runIn(`/run/netns/${netns}`, 'sh', '-c', script);
  }

  async function moveBehindRouter(): Promise<void> {
    router = `${lab.prefix}-r`;
    lab.addNetns(router, 254);
    await shell(
      router,
      'ip address add 198.51.100.254/24 dev eth0; sysctl -qw net.ipv4.ip_forward=1 ' +
        'net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0',
    );
    await shell(
      n2.netns,
      'ip address flush dev eth0; ip address add 198.51.100.2/24 dev eth0; ' +
        'ip route add default via 198.51.100.254',
    );
    for (const netns of [n1.netns, lab.client]) {
      await shell(netns, 'ip route add 198.51.100.0/24 via 192.0.2.254');
    }
  }

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'busybox', 'tcpdump', 'ethtool']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    close = async () => {
      await talks.close();
      await lab.close();
      if (router !== '') execFileSync('ip', ['netns', 'delete', router]);
    };
    [n1, n2] = [await lab.addHost(), await lab.addHost()];
    await moveBehindRouter();
    state = {
      networks: [
        network('ingress', 0, { ingress: true }),
        network('app', 1, {
          subnets: [
            { subnet: '10.128.1.0/24', gateway: '10.128.1.1' },
            { subnet: '10.129.1.0/24', gateway: '10.129.1.1' },
          ],
        }),
        network('other', 2, { dataPathPort: 4790 }),
      ],
      endpoints: [
        endpoint('app', 'n1', '', 1, '10.128.1.11'),
        endpoint('app', 'n1', 'api', 1, '10.129.1.11'),
        endpoint('app', 'n2', 'api', 2, '10.129.1.12'),
        endpoint('app', 'n2', '', 2, '10.128.1.13'),
        endpoint('ingress', 'n2', 'api', 2, '10.128.0.12'),
        endpoint('other', 'n1', '', 1, '10.128.2.11'),
        endpoint('other', 'n2', '', 2, '10.128.2.12'),
      ],
      services: [
        service('app', 'api', '10.129.1.2'),
        service('ingress', 'api', '', { ports: [ingressPort(8080)] }),
      ],
      peers: peers(lab.hosts).map((p) =>
        p.nodeId === 'n2' ? { ...p, dataPathAddress: '198.51.100.2' } : p,
      ),
    };
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    await attach(n1, 'a', { app: '10.128.1.11' });
    await attach(n1, 'b', { app: '10.129.1.11' });
    await attach(n2, 'c', { app: '10.129.1.12', ingress: '10.128.0.12' });
    await attach(n2, 'd', { app: '10.128.1.13' });
    await attach(n1, 'e', { other: '10.128.2.11' });
    await attach(n2, 'f', { other: '10.128.2.12' });
  });
  after(() => close());

  it('joins the subnets of a network, on one host and between hosts', async () => {
    assert.equal(await askTcp(path('a'), '10.129.1.11'), 'b 10.128.1.11');
    assert.equal(await askTcp(path('a'), '10.129.1.12'), 'c 10.128.1.11');
    assert.equal(await askTcp(path('c'), '10.128.1.11'), 'a 10.129.1.12');
    assert.equal(await askUdp(path('d'), '10.129.1.11'), 'b 10.128.1.13');
    assert.equal(await askTcp(path('d'), '10.128.1.11'), 'a 10.128.1.13');
  });

  it('reaches a virtual address from either subnet', async () => {
    for (const from of ['a', 'd', 'b']) {
      const answers = new Set<string>();
      for (let i = 0; i < 24; i++)
        answers.add((await askTcp(path(from), '10.129.1.2')).slice(0, 1));
      assert.deepEqual([...answers].sort(), ['b', 'c'], from);
    }
  });

  it('publishes ports on hosts of either subnet, and the task sees the client', async () => {
    for (const address of [n1.address, '198.51.100.2']) {
      assert.equal(await askTcp(outside(), address, 8080), 'c 192.0.2.50', address);
    }
  });

  it('has tunnels of two ports at once', async () => {
    const capture = await new Capture(`/run/netns/${router}`, 'eth0', 'udp').started();
    assert.equal(await askTcp(path('e'), '10.128.2.12'), 'f 10.128.2.11');
    assert.equal(await askTcp(path('a'), '10.129.1.12'), 'c 10.128.1.11');
    const seen = await capture.until(/\.4789:/);
    assert.match(seen, /192\.0\.2\.1\.\d+ > 198\.51\.100\.2\.4790/);
  });

  it('makes the tunnels anew when their port changes', async () => {
    const networks = state.networks.map((n) =>
      n.networkId === 'other' ? { ...n, dataPathPort: 5790 } : n,
    );
    await Promise.all(lab.hosts.map((h) => h.apply({ ...state, networks })));
    assert.match(await shell(n1.netns, 'ip -d link show hv1002'), /dstport 5790/);
    assert.equal(await askTcp(path('e'), '10.128.2.12'), 'f 10.128.2.11');
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    assert.equal(await askTcp(path('e'), '10.128.2.12'), 'f 10.128.2.11');
  });

  it('sends nothing to the underlay but frames to who is meant', async () => {
    const capture = await new Capture(`/run/netns/${router}`, 'eth0', 'udp').started();
    const gone = state.endpoints.filter((e) => e.address !== '10.128.1.13');
    await n1.apply({ ...state, endpoints: gone });
    const attempts = [
      'busybox arping -c 1 -w 1 -I eth0 10.128.1.99', // nobody
      'busybox arping -c 1 -w 1 -I eth0 10.128.1.13', // not any more
      'busybox arping -c 1 -w 1 -I eth0 10.129.1.12', // elsewhere
      'busybox arping -U -c 1 -w 1 -I eth0 10.128.1.11',
      'busybox ping -c 1 -W 1 10.128.1.13',
      'busybox ping -c 1 -W 1 10.128.1.99',
      'busybox ping -c 1 -W 1 10.128.1.255',
      'ip route add 224.0.0.0/4 dev eth0; busybox ping -c 1 -W 1 239.1.1.1',
      // a MAC that nobody has
      'ip neigh replace 10.128.1.98 lladdr 02:42:0a:80:01:62 dev eth0; busybox ping -c 1 -W 1 10.128.1.98',
    ];
    await Promise.all(attempts.map((attempt) => runIn(path('a'), 'sh', '-c', attempt)));
    await runIn(path('a'), 'busybox', 'ping', '-c', '1', '-W', '2', '10.129.1.12');
    const seen = await capture.until(/10\.129\.1\.12 > 10\.128\.1\.11: ICMP echo reply/);
    await n1.apply(state);
    assert.doesNotMatch(seen, /ARP|ff:ff:ff:ff:ff:ff|01:00:5e|33:33:/);
    const inner = [...seen.matchAll(/VXLAN.*\n\s*(\S+) > (\S+), ethertype/g)].map((m) => m[2]);
    assert.ok(inner.length > 0, seen);
    // to c, and c's answers to a
    assert.deepEqual([...new Set(inner)].sort(), ['02:42:0a:80:01:0b', '02:42:0a:81:01:0c']);
  });

  it('follows the MTU of a network and of the underlay into live containers', async () => {
    const mtu = async (netnsPath: string, link: string): Promise<string> =>
      /mtu (\d+)/.exec(await runIn(netnsPath, 'ip', 'link', 'show', link))?.[1] ?? '';
    assert.equal(await mtu(path('a'), 'eth0'), '1450');
    const networks = state.networks.map((n) =>
      n.networkId === 'app' ? { ...n, mtuBytes: 1300 } : n,
    );
    const talk = await (async () => {
      await talks.serve(path('c'), 'c', 7000);
      return await talks.connect(path('a'), 'tcp', '10.129.1.12', 7000);
    })();
    await n1.apply({ ...state, networks });
    for (const link of ['hb1001', 'hv1001']) assert.equal(await mtu(n1.netnsPath, link), '1300');
    assert.equal(await mtu(path('a'), 'eth0'), '1300');
    await n1.apply(state);
    assert.equal(await mtu(path('a'), 'eth0'), '1450');
    await shell(n1.netns, 'ip link set eth0 mtu 1400');
    const told = await n1.checkDrift();
    assert.ok(told.includes('changed MTU of the underlay 1400'), told.join('\n'));
    assert.equal(await mtu(path('a'), 'eth0'), '1350');
    await shell(n1.netns, 'ip link set eth0 mtu 1500');
    await n1.checkDrift();
    assert.equal(await mtu(path('a'), 'eth0'), '1450');
    assert.equal(await talk.say(), 'c');
  });

  for (const offloads of ['on', 'off']) {
    it(`sends right checksums with offloads ${offloads}`, async () => {
      const set = (netnsPath: string, link: string, state: string): Promise<string> =>
        runIn(
          netnsPath,
          'sh',
          '-c',
          `for f in tx rx gso tso gro; do ethtool -K ${link} $f ${state} 2>/dev/null; done`,
        );
      for (const name of ['a', 'c']) await set(path(name), 'eth0', offloads);
      for (const host of lab.hosts) await set(host.netnsPath, 'hv1001', offloads);
      // without it on the underlay's own link, nothing may be left to it
      for (const host of lab.hosts) await set(host.netnsPath, 'eth0', 'off');
      const filter = ['udp', 'port', '4789'];
      const capture = await new Capture(`/run/netns/${router}`, 'eth0', ...filter).started();
      const size = 3_000_000;
      const receive = runIn(path('c'), 'sh', '-c', 'busybox nc -l -p 9000 | wc -c');
      await eventually(async () =>
        assert.match(await runIn(path('c'), 'busybox', 'netstat', '-ltn'), /:9000 /),
      );
      const send = `head -c ${size} /dev/zero | busybox nc -w 5 10.129.1.12 9000`;
      await runIn(path('a'), 'sh', '-c', send);
      assert.equal(await receive, String(size));
      assert.match(await askUdp(path('a'), '10.129.1.2'), /^[bc] 10\.128\.1\.11$/);
      assert.equal(await askTcp(outside(), n1.address, 8080), 'c 192.0.2.50');
      assert.equal(await askUdp(path('a'), '10.129.1.12'), 'c 10.128.1.11');
      const seen = await capture.until(/10\.129\.1\.12\.80 > 10\.128\.1\.11\.\d+: .*UDP/);
      assert.doesNotMatch(seen, /incorrect|bad udp cksum|bad cksum/);
      const correct = seen.match(/cksum 0x[0-9a-f]+ \(correct\)|udp sum ok/g) ?? [];
      assert.ok(correct.length > 20, seen.slice(0, 2000));
      for (const host of lab.hosts) await set(host.netnsPath, 'eth0', 'on');
    });
  }
});
