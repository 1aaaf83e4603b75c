import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NetworkState, Sandbox } from '../../../overlay-net/driver.js';
import { eventually } from '../../support/eventually.js';
import { askTcp, NetLab, runIn, type LabHost } from '../../support/net-lab.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { endpoint, ingressPort, network, peers, service } from './cluster.js';
import { Talks, type Talk } from '../../support/talks.js';

/** What the kernel chooses or counts by itself: its timers, numbers of ports, MACs at random. */
const VOLATILE = [
  /\b\w+_timer\s+\S+|\b(link-netnsid|port_no|port_id|designated_\w+) \S+|\btopology_change\S* \d/g,
  /"(handle|packets|bytes)": ?\d+,?|\bstate (UP|UNKNOWN)\b/g,
  /\b(?!02:42:|06:)([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g,
  /^\d+: |@if\d+|\binet6\b.*/g,
];
/** Learned from traffic, or of IPv6. */
const PASSING = /^\S+ dev \S+ master \S+ ?$|\b(33:33|01:00:5e):|^fe80|^ff00|^local fe80|^multicast/;

/** Everything of a host that its driver sees to, line by line in a fixed order. */
async function inventory(host: LabHost): Promise<string[]> {
  const look = async (...command: string[]): Promise<string> => {
    return await runIn(host.netnsPath, ...command);
  };
  const lines = [
    ...(await look('ip', '-o', '-d', 'link')).split('\n'),
    ...(await look('ip', '-o', '-4', 'address')).split('\n'),
    ...(await look('ip', 'route', 'show', 'table', 'all')).split('\n'),
    ...(await look('ip', 'rule')).split('\n'),
    ...(await look('ip', 'neigh', 'show', 'nud', 'permanent')).split('\n'),
    ...(await look('bridge', 'fdb')).split('\n'),
    ...(await look('nft', '-j', 'list', 'ruleset')).split(/(?=\{"(?:rule|chain|set|map|table)")/),
  ];
  return lines
    .filter((line) => !PASSING.test(line))
    .map((line) => VOLATILE.reduce((text, pattern) => text.replaceAll(pattern, ''), line).trim())
    .sort();
}

interface Damage {
  name: string;
  /** In the host's namespace, or in the sandbox `in`; a shell command. */
  command: string;
  in?: string;
  /** What the log says of the repair. */
  repaired: RegExp;
}

/** Two hosts with a network, an ingress network and a container each. */
describe('what others change', function () {
  let lab: NetLab;
  let n1: LabHost, n2: LabHost;
  let close = (): Promise<void> => Promise.resolve();
  let state: Omit<NetworkState, 'nodeId'>;
  const box = new Map<string, Sandbox>();
  let whole: string[];
  let veth = '';
  const talks = new Talks();
  /** Connections that were opened before anything was changed. */
  let direct: Talk, balanced: Talk;

  const path = (name: string): string => box.get(name)?.netnsPath ?? assert.fail(`no ${name}`);

  async function attach(host: LabHost, id: string, address: string): Promise<void> {
    const attachments = [{ networkId: 'app', address: `${address}/24` }];
    const sandbox = await host.attach({ id, attachments, hostPorts: [] });
    box.set(id, sandbox);
    await lab.serve(sandbox.netnsPath, id);
  }

  before(async function () {
    requiresRoot(this);
    for (const command of ['ip', 'bridge', 'nft', 'nsenter', 'busybox']) {
      requiresCommand(this, command);
    }
    lab = new NetLab();
    close = async () => {
      await talks.close();
      await lab.close();
    };
    [n1, n2] = [await lab.addHost(), await lab.addHost()];
    state = {
      networks: [network('ingress', 0, { ingress: true }), network('app', 1)],
      endpoints: [
        endpoint('app', 'n1', 'api', 1, '10.128.1.11'),
        endpoint('app', 'n2', 'api', 2, '10.128.1.12'),
        endpoint('ingress', 'n2', 'api', 2, '10.128.0.12'),
      ],
      services: [
        service('app', 'api', '10.128.1.2'),
        service('ingress', 'api', '', { ports: [ingressPort(8080)] }),
      ],
      peers: peers(lab.hosts),
    };
    await Promise.all(lab.hosts.map((h) => h.apply(state)));
    await attach(n1, 'api1', '10.128.1.11');
    await attach(n2, 'api2', '10.128.1.12');
    const record = readFileSync(join(n1.folder, 'state/sandboxes/api1.json'), 'utf8');
    veth = (JSON.parse(record) as { hostLinks: string[] }).hostLinks[0] ?? '';
    await talks.serve(path('api2'), 'api2', 7000);
    await talks.serve(path('api1'), 'api1', 7000);
    direct = await talks.connect(path('api1'), 'tcp', '10.128.1.12', 7000);
    balanced = await talks.connect(path('api2'), 'tcp', '10.128.1.2', 7000);
    // whoever is heard for the first time is learned
    assert.equal(await askTcp(path('api1'), '10.128.1.12'), 'api2 10.128.1.11');
    await n1.checkDrift();
    assert.deepEqual(await n1.checkDrift(), []);
    whole = await inventory(n1);
  });
  after(() => close());

  const damages: Damage[] = [
    {
      name: 'a forwarding entry of the bridge',
      command: 'bridge fdb del 02:42:0a:80:01:0c dev hv1001 master',
      repaired: /^added fdb master hv1001 02:42:0a:80:01:0c$/,
    },
    {
      name: 'a forwarding entry of the bridge that leads to the host',
      command: 'bridge fdb replace 02:42:0a:80:01:0c dev hv1001 master permanent',
      repaired: /^changed fdb master hv1001 02:42:0a:80:01:0c$/,
    },
    {
      name: 'a forwarding entry of the tunnel',
      command: 'bridge fdb del 02:42:0a:80:01:0c dev hv1001 self',
      repaired: /^added fdb self hv1001 02:42:0a:80:01:0c$/,
    },
    {
      name: 'a forwarding entry to another node',
      command: 'bridge fdb replace 02:42:0a:80:01:0c dev hv1001 self dst 192.0.2.9',
      repaired: /^changed fdb self hv1001 02:42:0a:80:01:0c$/,
    },
    {
      name: 'forwarding entries that nobody asked for',
      command:
        'bridge fdb append 00:00:00:00:00:00 dev hv1001 self dst 192.0.2.2; ' +
        'bridge fdb add 02:42:0a:80:01:77 dev hv1001 master static; ' +
        'bridge fdb add 02:42:0a:80:01:78 dev $VETH master permanent',
      repaired: /^removed fdb master hs\w+ 02:42:0a:80:01:78$/,
    },
    {
      name: 'a neighbour',
      command: 'ip neigh del 10.128.1.12 dev hb1001',
      repaired: /^added neigh hb1001 10\.128\.1\.12$/,
    },
    {
      name: 'a neighbour with another address',
      command: 'ip neigh replace 10.128.1.12 lladdr 02:00:00:00:00:01 dev hb1001 nud permanent',
      repaired: /^changed neigh hb1001 10\.128\.1\.12$/,
    },
    {
      name: 'a neighbour too many',
      command: 'ip neigh add 10.128.1.99 lladdr 02:00:00:00:00:01 dev hb1001 nud permanent',
      repaired: /^removed neigh hb1001 10\.128\.1\.99$/,
    },
    {
      name: 'the gateway address',
      command: 'ip address del 10.128.1.1/24 dev hb1001',
      repaired: /^added address hb1001 10\.128\.1\.1\/24$/,
    },
    {
      name: 'a virtual address',
      command: 'ip address del 10.128.1.2/32 dev hb1001',
      repaired: /^added address hb1001 10\.128\.1\.2\/32$/,
    },
    {
      name: 'an address too many',
      command: 'ip address add 10.128.1.77/32 dev hb1001',
      repaired: /^removed address hb1001 10\.128\.1\.77\/32$/,
    },
    {
      name: 'a route too many',
      command: 'ip route add 10.200.0.0/16 via 10.128.1.11 dev hb1001',
      repaired: /^removed route 254 10\.200\.0\.0\/16/,
    },
    {
      name: 'flags of the tunnel port',
      command: 'bridge link set dev hv1001 learning on flood on neigh_suppress off mcast_flood on',
      repaired: /^changed link hv1001 port\.flood false$/,
    },
    {
      name: 'a tunnel that learns',
      command: 'ip link set hv1001 type vxlan learning',
      repaired: /^changed link hv1001 tunnel\.learning false$/,
    },
    {
      name: 'a tunnel out of its bridge',
      command: 'ip link set hv1001 nomaster',
      repaired: /^changed link hv1001 master hb1001$/,
    },
    {
      name: 'a tunnel that is gone',
      command: 'ip link del hv1001',
      repaired: /^added link hv1001$/,
    },
    {
      name: 'a bridge that is down',
      command: 'ip link set hb1001 down',
      repaired: /^changed link hb1001 mtuBytes 1450$/,
    },
    {
      name: 'MTU and MAC of a bridge',
      command: 'ip link set hb1001 mtu 1300; ip link set hb1001 address 02:00:00:00:00:05',
      repaired: /^changed link hb1001 mac 06:00:01:00:10:01$/,
    },
    {
      name: 'a bridge that is gone',
      command: 'ip link del hb1001',
      repaired: /^added link hb1001$/,
    },
    {
      name: 'a link of a network that is not there',
      command: 'ip link add hb7777 type bridge',
      repaired: /^removed link hb7777$/,
    },
    {
      name: 'kernel parameters',
      command:
        'echo 1 > /proc/sys/net/ipv4/conf/hb1001/rp_filter; ' +
        'echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables',
      repaired: /^changed net.bridge.bridge-nf-call-iptables = 1$/,
    },
    {
      name: 'the elements of a map',
      command: 'nft flush map ip hatoba vip_chains',
      repaired: /^added element \S.* of ip hatoba vip_chains$/,
    },
    {
      name: 'an element with other data',
      command:
        'nft "delete element ip hatoba vip_backends { 10.128.1.2 . 0x49000000 }; ' +
        'add element ip hatoba vip_backends { 10.128.1.2 . 0x49000000 : 10.128.1.250 }"',
      repaired: /^changed element 10\.128\.1\.2 \. 1224736768 of ip hatoba vip_backends$/,
    },
    {
      name: 'elements too many',
      command:
        'nft add element ip hatoba bridges { "eth0" }; ' +
        'nft add element bridge hatoba senders { "eth0" . 02:00:00:00:00:01 . 10.0.0.1 }',
      repaired: /^removed element eth0 of ip hatoba bridges$/,
    },
    {
      name: 'a rule too many',
      command: 'nft insert rule ip hatoba forward drop',
      repaired: /^removed rule of chain forward, table ip hatoba$/,
    },
    {
      name: 'all rules of a chain',
      command: 'nft flush chain ip hatoba prerouting',
      repaired: /^added rule of chain prerouting, table ip hatoba$/,
    },
    {
      name: 'a whole table',
      command: 'nft delete table bridge hatoba',
      repaired: /^added table, table bridge hatoba$/,
    },
    {
      name: 'all tables',
      command: 'nft flush ruleset',
      repaired: /^added table, table ip hatoba$/,
    },
    {
      name: "a container's link out of its bridge",
      command: 'ip link set $VETH nomaster',
      repaired: /^changed sandbox api1: link hs\w+: in no bridge, up, MTU 1450$/,
    },
    {
      name: "a container's link that is down",
      command: 'ip link set $VETH down; bridge link set dev $VETH hairpin off',
      repaired: /^changed sandbox api1: link hs\w+ hairpin true$/,
    },
    {
      name: "a container's link that is gone",
      command: 'ip link del $VETH',
      repaired: /^added sandbox api1: link hs\w+ eth0 10\.128\.1\.11\/24$/,
    },
    {
      name: "a link's MTU in the container",
      command: 'ip link set eth0 mtu 1200',
      in: 'api1',
      repaired: /^changed sandbox api1: link eth0: .* MTU 1200$/,
    },
    {
      name: 'the address of a container',
      command: 'ip address flush dev eth0',
      in: 'api1',
      repaired: /^added sandbox api1: address eth0 10\.128\.1\.11\/24$/,
    },
    {
      name: 'the default route of a container',
      command: 'ip route del default',
      in: 'api1',
      repaired: /^added sandbox api1: route eth0 default$/,
    },
    {
      name: 'a link of another name in the container',
      command: 'ip link set eth0 down; ip link set eth0 name lost',
      in: 'api1',
      repaired: /^changed sandbox api1: link lost to eth0$/,
    },
  ];
  for (const { name, command, in: inside, repaired } of damages) {
    it(`is repaired and told: ${name}`, async () => {
      const where = inside === undefined ? n1.netnsPath : path(inside);
      const shell = command.replaceAll('$VETH', veth);
      assert.equal(await runIn(where, 'sh', '-ec', shell), '', 'the command says nothing');
      const told = await n1.checkDrift();
      assert.ok(
        told.some((line) => repaired.test(line)),
        told.join('\n'),
      );
      await n1.checkDrift();
      // whether a link carries anything shows a moment later
      await eventually(async () => assert.deepEqual(await inventory(n1), whole));
      assert.equal(await askTcp(path('api1'), '10.128.1.12'), 'api2 10.128.1.11');
      assert.equal(await direct.say(), 'api2', 'an open connection goes on');
      assert.match(await balanced.say(), /^api[12]$/, 'so does one to a virtual address');
      assert.deepEqual(await n1.checkDrift(), [], 'nothing is left to repair');
    });
  }

  it('is repaired by itself within seconds', async () => {
    await runIn(n1.netnsPath, 'ip', 'neigh', 'del', '10.128.1.12', 'dev', 'hb1001');
    await eventually(async () => {
      const { netnsPath } = n1;
      assert.match(await runIn(netnsPath, 'ip', 'neigh', 'show', '10.128.1.12'), /PERMANENT/);
    });
    await n1.checkDrift();
  });

  it('is left alone where it is not ours', async () => {
    const foreign =
      'nft add table ip other; nft add chain ip other c; ip link add other0 type bridge; ' +
      'ip address add 10.250.0.1/24 dev other0; ip rule add priority 99 table 99';
    assert.equal(await runIn(n1.netnsPath, 'sh', '-ec', foreign), '');
    assert.deepEqual(await n1.checkDrift(), []);
    const there = await runIn(n1.netnsPath, 'sh', '-c', 'nft list tables; ip address; ip rule');
    for (const trace of ['ip other', '10.250.0.1/24', 'lookup 99'])
      assert.ok(there.includes(trace));
    const undo = 'nft delete table ip other; ip link del other0; ip rule del priority 99';
    await runIn(n1.netnsPath, 'sh', '-c', undo);
  });
});
