import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, askUdp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';

type State = Omit<NetworkState, 'nodeId'>;

/**
 * One overlay network "app" over three hosts and the ingress network. `api` runs on all hosts,
 * `web` (published) on n1 and n2 only, `solo` on n1 alone, `none` nowhere; "other" is another
 * network, "closed" one without a way out.
 */
describe('overlay networks of three hosts', function () {
  let lab: NetLab;
  let n1: LabHost, n2: LabHost, n3: LabHost;
  let close = (): Promise<void> => Promise.resolve();
  let state: State;
  const box = new Map<string, Sandbox>();

  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'busybox', 'tcpdump']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    close = () => lab.close();
    [n1, n2, n3] = [await lab.addHost(), await lab.addHost(), await lab.addHost()];
    state = {
      networks: [
        network('ingress', 0, { ingress: true }),
        network('app', 1),
        network('other', 2),
        network('closed', 3, { internal: true }),
      ],
      endpoints: [
        endpoint('app', 'n1', '', 1, '10.128.1.10'),
        endpoint('app', 'n1', 'api', 1, '10.128.1.11'),
        endpoint('app', 'n2', 'api', 2, '10.128.1.12'),
        endpoint('app', 'n3', 'api', 3, '10.128.1.13'),
        endpoint('app', 'n1', 'solo', 1, '10.128.1.14'),
        endpoint('ingress', 'n1', 'web', 1, '10.128.0.21'),
        endpoint('app', 'n1', 'web', 1, '10.128.1.21'),
        endpoint('ingress', 'n2', 'web', 2, '10.128.0.22'),
        endpoint('app', 'n2', 'web', 2, '10.128.1.22'),
        endpoint('other', 'n1', '', 1, '10.128.2.10'),
        endpoint('closed', 'n1', '', 1, '10.128.3.10'),
      ],
      services: [
        service('app', 'shop_api', '10.128.1.2', { serviceId: 'api', aliases: ['api'] }),
        service('app', 'solo', '10.128.1.3'),
        service('app', 'none', '10.128.1.4'),
        service('app', 'web', '10.128.1.5'),
        service('ingress', 'web', '10.128.0.5', {
          ports: [ingressPort(8080), ingressPort(8080, 'PORT_PROTOCOL_UDP')],
        }),
        service('ingress', 'none', '10.128.0.6', { ports: [ingressPort(8081)] }),
      ],
      peers: peers(lab.hosts),
    };
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    await attachAll();
    await lab.serve(`/run/netns/${lab.client}`, 'outside', [80]);
  });

  async function attach(
    host: LabHost,
    id: string,
    on: readonly [networkId: string, address: string][],
    hostPorts: Parameters<LabHost['attach']>[0]['hostPorts'] = [],
  ): Promise<void> {
    const attachments = on.map(([networkId, a]) => ({ networkId, address: `${a}/24` }));
    const sandbox = await host.attach({ id, attachments, hostPorts });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  async function attachAll(): Promise<void> {
    await attach(n1, 'box', [['app', '10.128.1.10']]);
    await attach(n1, 'api1', [['app', '10.128.1.11']]);
    await attach(n2, 'api2', [['app', '10.128.1.12']]);
    await attach(n3, 'api3', [['app', '10.128.1.13']]);
    await attach(
      n1,
      'solo',
      [['app', '10.128.1.14']],
      [{ protocol: 'tcp', hostIp: '', publishedPort: 9000, targetPort: 80 }],
    );
    await attach(n1, 'web1', [
      ['app', '10.128.1.21'],
      ['ingress', '10.128.0.21'],
    ]);
    await attach(n2, 'web2', [
      ['app', '10.128.1.22'],
      ['ingress', '10.128.0.22'],
    ]);
    await attach(n1, 'other', [['other', '10.128.2.10']]);
    await attach(n1, 'closed', [['closed', '10.128.3.10']]);
  }

  after(async () => {
    await close();
  });

  /** Who answers: asks until `count` different answers came and a few more, 64 times at most. */
  async function spread(
    netnsPath: string,
    host: string,
    count: number,
    port = 80,
  ): Promise<string[]> {
    const answers = new Set<string>();
    for (let i = 0; i < 64 && (i < 8 || answers.size < count); i++) {
      answers.add(await askTcp(netnsPath, host, port));
    }
    return [...answers].sort();
  }

  it('carries packets between hosts without flooding', async () => {
    const dump = spawn('nsenter', [
      ...[`--net=${n1.netnsPath}`, 'tcpdump', '-i', 'eth0', '-nnel', '--immediate-mode'],
      ...['-Z', 'root', 'udp', 'port', '4789'],
    ]);
    let seen = '';
    dump.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await new Promise<void>((resolve) => {
      dump.stderr.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('listening')) resolve();
      });
    });
    for (const target of ['10.128.1.12', '10.128.1.13', '10.128.1.22']) {
      const output = await runIn(path('box'), 'busybox', 'ping', '-c', '2', '-W', '2', target);
      assert.match(output, / 0% packet loss/, output);
    }
    // nobody has this address: the question for it must stay on the host
    await runIn(path('box'), 'busybox', 'ping', '-c', '1', '-W', '1', '10.128.1.99');
    await eventually(() => assert.ok(seen.includes('ICMP echo reply'), seen));
    dump.kill('SIGINT');
    assert.doesNotMatch(seen, /ARP|ff:ff:ff:ff:ff:ff|01:00:5e|33:33:/);
  });

  it('passes full-size packets, at the underlay less 50 bytes', async () => {
    assert.match(await runIn(path('box'), 'ip', 'link', 'show', 'eth0'), /mtu 1450/);
    const ping = ['busybox', 'ping', '-c', '1', '-W', '2', '-s', String(1450 - 28), '10.128.1.13'];
    assert.match(await runIn(path('box'), ...ping), / 0% packet loss/);
  });

  it('spreads a virtual address over the tasks of all hosts', async () => {
    for (const from of ['box', 'api3']) {
      const answers = await spread(path(from), '10.128.1.2', 3);
      const own = from === 'box' ? '10.128.1.10' : '10.128.1.13';
      for (const task of ['api1', 'api2', 'api3']) {
        // a task that reaches itself sees the gateway instead of its own address
        const seen = task === from ? '10.128.1.1' : own;
        assert.ok(answers.includes(`${task} ${seen}`), `${from}: ${answers.join(', ')}`);
      }
      assert.equal(answers.length, 3, answers.join(', '));
    }
  });

  it('lets a task reach itself by its virtual address', async () => {
    assert.equal(await askTcp(path('solo'), '10.128.1.3'), 'solo 10.128.1.1');
    assert.equal(await askUdp(path('solo'), '10.128.1.3'), 'solo 10.128.1.1');
  });

  it('balances all protocols and ports of a virtual address', async () => {
    assert.equal(await askUdp(path('box'), '10.128.1.3'), 'solo 10.128.1.10');
    const ping = await runIn(path('box'), 'busybox', 'ping', '-c', '1', '-W', '2', '10.128.1.3');
    assert.match(ping, / 0% packet loss/);
  });

  it('refuses connections to a service without a ready task', async () => {
    assert.match(await askTcp(path('box'), '10.128.1.4'), /refused/);
    assert.match(await askTcp(`/run/netns/${lab.client}`, n3.address, 8081), /refused/);
  });

  it('publishes a port on every host, and the task sees the client', async () => {
    const outside = `/run/netns/${lab.client}`;
    for (const host of lab.hosts) {
      const answers = await spread(outside, host.address, 2, 8080);
      const wanted = ['web1 192.0.2.50', 'web2 192.0.2.50'];
      assert.deepEqual(answers, wanted, host.id);
      assert.match(await askUdp(outside, host.address, 8080), /^web[12] 192\.0\.2\.50$/);
    }
  });

  it('publishes a port to clients on the hosts themselves', async () => {
    for (const host of lab.hosts) {
      for (const target of ['127.0.0.1', host.address]) {
        const answers = await spread(host.netnsPath, target, 2, 8080);
        const wanted = [`web1 ${host.address}`, `web2 ${host.address}`];
        assert.deepEqual(answers, wanted, `${host.id} by ${target}`);
      }
    }
  });

  it('publishes a port to the other hosts, also when the task is where the client is', async () => {
    const answers = await spread(n1.netnsPath, n3.address, 2, 8080);
    // web1 is on n1 itself, and its answer goes back by n3 all the same
    assert.deepEqual(answers, ['web1 192.0.2.1', 'web2 192.0.2.1']);
  });

  it('publishes a port to containers, by the address of any host', async () => {
    for (const host of lab.hosts) {
      const answers = await spread(path('other'), host.address, 2, 8080);
      assert.deepEqual(answers.map((a) => a.split(' ')[0]).sort(), ['web1', 'web2'], host.id);
    }
  });

  it('leads host-mode ports to the one sandbox on its host only', async () => {
    const outside = `/run/netns/${lab.client}`;
    assert.equal(await askTcp(outside, n1.address, 9000), 'solo 192.0.2.50');
    assert.equal(await askTcp(n1.netnsPath, '127.0.0.1', 9000), 'solo 192.0.2.1');
    assert.match(await askTcp(outside, n2.address, 9000), /refused/);
  });

  it('reaches the outside by the address of the host, unless the network is internal', async () => {
    assert.equal(await askTcp(path('box'), '192.0.2.50'), 'outside 192.0.2.1');
    assert.equal(await askTcp(path('web2'), '192.0.2.50'), 'outside 192.0.2.2');
    assert.doesNotMatch(await askTcp(path('closed'), '192.0.2.50'), /outside/);
  });

  it('keeps networks apart', async () => {
    for (const target of ['10.128.1.11', '10.128.1.2', '10.128.1.12', '10.128.3.10']) {
      assert.doesNotMatch(await askTcp(path('other'), target), /api|closed/, target);
    }
    const ping = await runIn(path('other'), 'busybox', 'ping', '-c', '1', '-W', '1', '10.128.2.1');
    assert.match(ping, / 0% packet loss/);
  });

  const resolve = (from: string, name: string, type = 'a', server = ''): Promise<string> =>
    runIn(
      path(from),
      ...['busybox', 'nslookup', `-type=${type}`, name],
      server === '' ? (box.get(from)?.nameservers[0] ?? '') : server,
    );
  const addresses = (output: string): string[] =>
    [...output.matchAll(/Address: (10\.\d+\.\d+\.\d+)$/gm)].map((m) => m[1] ?? '').sort();

  it('answers names on every network, each host for its own containers', async () => {
    for (const from of ['box', 'api2', 'api3']) {
      assert.deepEqual(addresses(await resolve(from, 'api')), ['10.128.1.2'], from);
    }
    assert.deepEqual(addresses(await resolve('box', 'SHOP_API')), ['10.128.1.2']);
    assert.deepEqual(addresses(await resolve('box', 'tasks.api')), [
      '10.128.1.11',
      '10.128.1.12',
      '10.128.1.13',
    ]);
    assert.deepEqual(addresses(await resolve('box', '2.api')), ['10.128.1.12']);
    assert.deepEqual(addresses(await resolve('web1', 'api')), ['10.128.1.2']);
    assert.match(await resolve('box', '2.1.128.10.in-addr.arpa', 'ptr'), /shop_api/);
    assert.doesNotMatch(await resolve('box', 'api', 'aaaa'), /NXDOMAIN|SERVFAIL|can't/);
    assert.deepEqual(addresses(await resolve('other', 'api')), []);
  });

  it('reaches a service on another host by its name', async () => {
    const [address = ''] = addresses(await resolve('box', '3.api'));
    assert.equal(await askTcp(path('box'), address), 'api3 10.128.1.10');
  });

  it('changes backends by increments, and a stopped one gets nothing more', async () => {
    const endpoints = state.endpoints.map((e) => (e.slot === 3 ? { ...e, ready: false } : e));
    await Promise.all(lab.hosts.map((h) => h.apply({ ...state, endpoints })));
    const answers = await spread(path('box'), '10.128.1.2', 2);
    assert.deepEqual(answers, ['api1 10.128.1.10', 'api2 10.128.1.10']);
    assert.deepEqual(addresses(await resolve('box', 'tasks.api')), ['10.128.1.11', '10.128.1.12']);
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    assert.equal((await spread(path('box'), '10.128.1.2', 3)).length, 3);
  });

  it('goes on while the process is away, and the next one takes over and repairs', async () => {
    await n1.stop();
    assert.match(await askTcp(path('box'), '10.128.1.2'), /^api/);
    await runIn(n1.netnsPath, 'nft', 'delete', 'table', 'ip', 'hatoba');
    await runIn(n1.netnsPath, 'bridge', 'fdb', 'del', '02:42:0a:80:01:0c', 'dev', 'hv1001', 'self');
    await runIn(n1.netnsPath, 'ip', 'neigh', 'del', '10.128.1.13', 'dev', 'hb1001');
    await n1.start();
    assert.equal((await n1.list()).length, 6);
    await n1.apply(state);
    assert.equal((await spread(path('box'), '10.128.1.2', 3)).length, 3);
    assert.equal(await askTcp(`/run/netns/${lab.client}`, n1.address, 9000), 'solo 192.0.2.50');
    assert.deepEqual(addresses(await resolve('box', 'api')), ['10.128.1.2']);
  });

  it('changes nothing when the state is the same', async () => {
    const look = (): Promise<string> =>
      runIn(n1.netnsPath, 'sh', '-c', 'ip -j link; ip -j route show table all; nft list ruleset');
    const stable = (text: string): string => text.replaceAll(/"linkinfo".*?\}\}/g, '');
    const before = stable(await look());
    await n1.apply(state);
    assert.equal(stable(await look()), before);
  });

  it('takes down bridges of networks that are no longer wanted', async () => {
    const networks = state.networks.filter((n) => n.networkId !== 'other');
    await n2.apply({ ...state, networks });
    const links = await runIn(n2.netnsPath, 'ip', '-br', 'link');
    assert.doesNotMatch(links, /h[bv]1002/);
    assert.match(links, /hb1001/);
    await n2.apply(state);
    assert.match(await runIn(n2.netnsPath, 'ip', '-br', 'link'), /hb1002/);
  });

  it('says what is wrong with a sandbox on an unknown network, and leaves nothing of it', async () => {
    const attachments = [
      { networkId: 'app', address: '10.128.1.77/24' },
      { networkId: 'nowhere', address: '10.9.9.9/24' },
    ];
    await assert.rejects(n1.attach({ id: 'bad', attachments, hostPorts: [] }), {
      kind: 'failed-precondition',
      message: /nowhere is not on this node/,
    });
    assert.equal(existsSync(join(n1.folder, 'run/netns/bad')), false);
  });

  it('leaves nothing after detach and teardown', async () => {
    await n1.detach('solo');
    await n1.detach('solo');
    assert.match(await askTcp(`/run/netns/${lab.client}`, n1.address, 9000), /refused/);
    assert.equal(existsSync(join(n1.folder, 'run/netns/solo')), false);
    await lab.stopServers();
    for (const host of lab.hosts) {
      await host.teardown();
      await eventually(async () => {
        const links = await runIn(host.netnsPath, 'ip', '-br', 'link');
        assert.deepEqual(
          links.split('\n').map((l) => l.split(/[\s@]/)[0]),
          ['lo', 'eth0'],
        );
      });
      assert.equal(await runIn(host.netnsPath, 'nft', 'list', 'ruleset'), '');
      assert.deepEqual(readdirSync(join(host.folder, 'run/netns')), []);
      assert.deepEqual(await host.list(), []);
    }
  });
});
