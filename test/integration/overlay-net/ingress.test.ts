import assert from 'node:assert/strict';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { askMany, askTcp, askUdp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { Talks } from '../../support/talks.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';
import { OFFLOADS_OFF, MIRROR_CLIENT, SCTP_CLIENT, SCTP_SERVER } from './programs.js';

type State = Omit<NetworkState, 'nodeId'>;

const SOURCES = Array.from({ length: 60 }, (_, i) => `192.0.2.${100 + i}`);
const CONNECTIONS = 6000;
/** Not one that a client gets by itself. */
const FROM_PORT = 20_000;

/**
 * Ports published on three hosts, with a task of `web` on each: whoever asks, by whichever host, the
 * task sees who it is. `sticky` keeps clients with their task, `narrow` is published on one address.
 */
describe('ports published by every host', function () {
  let lab: NetLab;
  let outside = '';
  let state: State;
  let close = (): Promise<void> => Promise.resolve();
  const box = new Map<string, Sandbox>();
  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'nft', 'nsenter', 'busybox', 'python3']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    close = () => lab.close();
    outside = `/run/netns/${lab.client}`;
    for (const source of SOURCES) {
      await runIn(outside, 'ip', 'address', 'add', `${source}/32`, 'dev', 'eth0');
    }
    for (let i = 0; i < 3; i++) await lab.addHost();
    const tasks = [1, 2, 3];
    state = {
      networks: [network('ingress', 0, { ingress: true }), network('app', 1)],
      endpoints: [
        ...tasks.map((i) => endpoint('ingress', `n${i}`, 'web', i, `10.128.0.2${i}`)),
        ...tasks.map((i) => endpoint('app', `n${i}`, 'web', i, `10.128.1.2${i}`)),
        ...tasks.map((i) => endpoint('ingress', `n${i}`, 'sticky', i, `10.128.0.3${i}`)),
        endpoint('ingress', 'n2', 'narrow', 1, '10.128.0.41'),
        endpoint('app', 'n1', '', 1, '10.128.1.10'),
      ],
      services: [
        service('ingress', 'web', '10.128.0.5', {
          ports: [
            ingressPort(8080),
            ingressPort(8080, 'PORT_PROTOCOL_UDP'),
            { ...ingressPort(8080, 'PORT_PROTOCOL_SCTP'), targetPort: 90 },
            { ...ingressPort(8007), targetPort: 7 },
            { ...ingressPort(8007, 'PORT_PROTOCOL_UDP'), targetPort: 7 },
          ],
        }),
        service('app', 'web', '10.128.1.5'),
        service('ingress', 'sticky', '10.128.0.6', {
          sessionAffinity: 'SESSION_AFFINITY_CLIENT_IP',
          ports: [
            ...[ingressPort(8090), ingressPort(8090, 'PORT_PROTOCOL_UDP')],
            { ...ingressPort(8095), targetPort: 5 },
            { ...ingressPort(8095, 'PORT_PROTOCOL_UDP'), targetPort: 5 },
          ],
        }),
        service('ingress', 'narrow', '10.128.0.7', {
          ports: [
            { ...ingressPort(8100), hostIp: '127.0.0.1' },
            { ...ingressPort(8101), hostIp: '192.0.2.3' },
            { ...ingressPort(8101, 'PORT_PROTOCOL_UDP'), hostIp: '192.0.2.3' },
          ],
        }),
      ],
      peers: peers(lab.hosts),
    };
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    for (const [i, host] of lab.hosts.entries()) {
      await attach(host, `web${i + 1}`, `10.128.1.2${i + 1}`, `10.128.0.2${i + 1}`);
      await lab.mirror(path(`web${i + 1}`), 7);
      await lab.servePython(path(`web${i + 1}`), SCTP_SERVER, '90');
      await attach(host, `sticky${i + 1}`, '', `10.128.0.3${i + 1}`);
    }
    await attach(nth(1), 'narrow', '', '10.128.0.41');
    await attach(nth(0), 'box', '10.128.1.10', '');
  });
  after(() => close());

  const nth = (i: number): LabHost => lab.hosts[i] ?? assert.fail(`no host ${i}`);

  async function attach(host: LabHost, id: string, app: string, ingress: string): Promise<void> {
    const attachments = [
      { networkId: 'app', address: `${app}/24` },
      { networkId: 'ingress', address: `${ingress}/24` },
    ].filter((a) => !a.address.startsWith('/'));
    const sandbox = await host.attach({ id, attachments, hostPorts: [] });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  /** Every client that has an address of its own: outside of the cluster and on each of its hosts. */
  const clients = (): { address: string; netnsPath: string }[] => [
    ...lab.hosts.map(({ address, netnsPath }) => ({ address, netnsPath })),
    { address: '192.0.2.50', netnsPath: outside },
  ];

  for (const protocol of ['tcp', 'udp'] as const) {
    it(`show the task who the client is, from anywhere by any host (${protocol})`, async () => {
      for (const { address, netnsPath } of clients()) {
        for (const host of lab.hosts) {
          const target = { host: host.address, port: 8080, count: 60 };
          const answers = await askMany(netnsPath, protocol, target);
          const wanted = [1, 2, 3].map((i) => `web${i} ${address}`);
          assert.deepEqual([...answers.keys()].sort(), wanted, `${address} by ${host.id}`);
        }
      }
    });

    it(`spread new connections evenly (${protocol})`, async () => {
      const target = { host: nth(0).address, port: 8080, count: CONNECTIONS };
      const answers = await askMany(outside, protocol, target);
      const share = CONNECTIONS / 3;
      assert.equal(answers.size, 3, JSON.stringify([...answers]));
      // 10 % are 5.5 standard deviations here: chance alone exceeds them once in 10^7
      for (const [answer, count] of answers) {
        assert.ok(Math.abs(count - share) < share / 10, `${answer}: ${count} of ${CONNECTIONS}`);
      }
    });
  }

  it('show the host itself for clients by 127.0.0.1', async () => {
    for (const { netnsPath, address } of lab.hosts) {
      const answers = await askMany(netnsPath, 'tcp', { host: '127.0.0.1', port: 8080, count: 60 });
      const wanted = [1, 2, 3].map((i) => `web${i} ${address}`);
      assert.deepEqual([...answers.keys()].sort(), wanted);
    }
  });

  it('show its host for a container, also one that shares another network with the task', async () => {
    for (const host of lab.hosts) {
      for (const from of ['box', 'web1']) {
        const target = { host: host.address, port: 8080, count: 60 };
        const answers = await askMany(path(from), 'tcp', target);
        assert.deepEqual([...answers.keys()].map((a) => a.slice(0, 4)).sort(), [
          'web1',
          'web2',
          'web3',
        ]);
        const seen = new Set([...answers.keys()].map((a) => a.slice(5)));
        // a task on the ingress network is seen as itself by its own host
        if (from === 'box') assert.deepEqual([...seen], ['192.0.2.1'], host.id);
      }
    }
  });

  for (const offloads of ['on', 'off']) {
    it(`carry large bodies in both directions, with offloads ${offloads}`, async () => {
      const places = [outside, ...lab.hosts.map((h) => h.netnsPath)];
      if (offloads === 'off') {
        for (const name of [...places, ...[1, 2, 3].map((i) => path(`web${i}`))]) {
          assert.equal(await runIn(name, 'python3', '-c', OFFLOADS_OFF), '');
        }
      }
      for (const from of places) {
        for (const host of lab.hosts) {
          const client = [
            process.execPath,
            '-e',
            MIRROR_CLIENT,
            host.address,
            '8007',
            '4000000',
            '12',
          ];
          assert.equal(await runIn(from, ...client), 'same', `${from} by ${host.id}`);
        }
      }
    });
  }

  it('carry SCTP, whose packets are made by hand as this kernel may have no sockets for it', async () => {
    for (const { address, netnsPath } of clients()) {
      for (const host of lab.hosts) {
        if (host.netnsPath === netnsPath) continue; // no sockets: nobody answers on the host itself
        const answer = await runIn(netnsPath, 'python3', '-c', SCTP_CLIENT, host.address, '8080');
        assert.equal(answer, `init-ack ${host.address} 8080 for ${address}`);
      }
    }
  });

  it('answer on a given address of the host alone', async () => {
    for (const host of lab.hosts) {
      assert.equal(await askTcp(host.netnsPath, '127.0.0.1', 8100), `narrow ${host.address}`);
      assert.match(await askTcp(host.netnsPath, host.address, 8100), /refused/);
      assert.match(await askTcp(outside, host.address, 8100), /refused/);
      const expected = host.id === 'n3' ? /^narrow 192\.0\.2\.50$/ : /refused/;
      assert.match(await askTcp(outside, host.address, 8101), expected);
    }
    assert.equal(await askUdp(outside, '192.0.2.3', 8101), 'narrow 192.0.2.50');
    assert.equal(await askTcp(nth(1).netnsPath, '192.0.2.3', 8101), 'narrow 192.0.2.2');
  });

  it('do not open what is for 127.0.0.1 to a neighbour on the wire', async () => {
    await runIn(outside, 'ip', 'route', 'add', 'table', '77', '127.0.0.1', 'via', '192.0.2.1');
    await runIn(outside, 'ip', 'rule', 'add', 'to', '127.0.0.1', 'lookup', '77', 'pref', '0');
    await runIn(outside, 'ip', 'rule', 'add', 'lookup', 'local', 'pref', '10');
    await runIn(outside, 'ip', 'rule', 'del', 'lookup', 'local', 'pref', '0');
    await runIn(outside, 'sysctl', '-w', 'net.ipv4.conf.eth0.route_localnet=1');
    assert.doesNotMatch(await askTcp(outside, '127.0.0.1', 8100), /narrow/);
    await runIn(outside, 'ip', 'rule', 'del', 'pref', '0');
  });

  describe('with affinity to the client', () => {
    /** Which task each source is led to, asked three times; fails if it is not always the same. */
    async function homes(
      protocol: 'tcp' | 'udp',
      host: string,
      port = 8090,
    ): Promise<Map<string, string>> {
      const target = { host, port, count: SOURCES.length * 3, sources: SOURCES };
      const homes = new Map<string, string>();
      for (const answer of (await askMany(outside, protocol, target)).keys()) {
        const [source = '', task = '', seen] = answer.split(/:? /);
        assert.equal(seen, source, answer);
        assert.equal(homes.get(source), undefined, `${source} was led to two tasks`);
        homes.set(source, task);
      }
      assert.equal(homes.size, SOURCES.length);
      return homes;
    }

    it('lead a client to the same task by any host', async () => {
      const first = await homes('tcp', nth(0).address);
      assert.equal(new Set(first.values()).size, 3);
      for (const host of lab.hosts) {
        assert.deepEqual(await homes('udp', host.address), first);
        assert.deepEqual(await homes('tcp', host.address), first);
      }
    });

    it('move only the clients of the task that went, and move them back', async () => {
      const before = await homes('tcp', nth(0).address);
      const endpoints = state.endpoints.map((e) =>
        e.taskId === 'sticky2' ? { ...e, ready: false } : e,
      );
      await Promise.all(lab.hosts.map((h) => h.apply({ ...state, endpoints })));
      const after = await homes('tcp', nth(2).address);
      for (const [source, task] of before) {
        if (task === 'sticky2') assert.match(after.get(source) ?? '', /sticky[13]/);
        else assert.equal(after.get(source), task);
      }
      await Promise.all(lab.hosts.map((h) => h.apply(state)));
      assert.deepEqual(await homes('tcp', nth(1).address), before);
    });

    it('tell apart what comes to a task from one port of a client by several hosts', async () => {
      const talks = new Talks();
      try {
        for (const i of [1, 2, 3]) await talks.serve(path(`sticky${i}`), `sticky${i}`, 5);
        for (const kind of ['tcp', 'udp'] as const) {
          const connect = (host: LabHost): ReturnType<Talks['connect']> =>
            talks.connect(outside, kind, host.address, 8095, FROM_PORT);
          const first = await connect(nth(0));
          const task = await first.say();
          const all = [first, await connect(nth(1)), await connect(nth(2))];
          for (let round = 0; round < 2; round++) {
            for (const talk of all) assert.equal(await talk.say(), task, kind);
          }
          await all[1]?.end();
          for (const talk of [first, all[2]]) assert.equal(await talk?.say(), task, kind);
        }
      } finally {
        await talks.close();
      }
    });

    it('do the same by the virtual address', async () => {
      for (const [i, from] of ['web1', 'web2', 'web3'].entries()) {
        const tcp = await askMany(path(from), 'tcp', { host: '10.128.0.6', port: 80, count: 30 });
        const udp = await askMany(path(from), 'udp', { host: '10.128.0.6', port: 80, count: 30 });
        const [answer = ''] = tcp.keys();
        assert.match(answer, new RegExp(`^sticky[123] 10\\.128\\.0\\.2${i + 1}$`));
        assert.deepEqual([...tcp], [[answer, 30]]);
        assert.deepEqual(udp, tcp);
      }
    });
  });
});
