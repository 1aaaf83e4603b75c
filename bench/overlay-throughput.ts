/**
 * TCP between two containers on two hosts (network namespaces of this machine): over an overlay
 * network, through a virtual address, over the same bridges unseen by nftables, and over nothing but
 * a VXLAN link between the same containers. They take turns; a ratio is of one round, and the median
 * of all rounds counts. So do round trips of small messages, all on one core: what a packet costs,
 * which other load on the machine hardly moves as it does the throughput. As no link limits them, these
 * ends use both cores up, and the ratio is one of CPU time; so both also take turns over hosts whose
 * cards send no more than a link of that rate would.
 * Needs root, python3 and iperf3 (apt-get install iperf3).
 *   npx tsx bench/overlay-throughput.ts [ROUNDS] [SECONDS A TURN]
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { endpoint, network, peers, service } from '../test/integration/overlay-net/cluster.js';
import { NetLab, type LabHost } from '../test/support/net-lab.js';
import { median, printRows } from './support/figures.js';

const ROUNDS = Number(process.argv[2] ?? 7);
const SECONDS = Number(process.argv[3] ?? 3);
const SERVER = '10.128.1.20';
const CLIENT = '10.128.1.10';
const VIRTUAL = '10.128.1.5';
/** The ends of the bare link: VXLAN of another number and port, in the containers themselves. */
const BARE = { server: '10.99.0.2', client: '10.99.0.1', link: 'bare0', vni: '99', port: '4790' };

const LINK_GBIT = 2.5;

const PING_PORT = 7777;
const ON_ONE_CORE = 'import os, socket, sys, time\nos.sched_setaffinity(0, [0])\n';
/** Sends back what it gets, one connection after another. */
const PING_SERVER = `${ON_ONE_CORE}
server = socket.create_server(('', ${PING_PORT}))
print('ready', flush=True)
while True:
    peer = server.accept()[0]
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := peer.recv(64):
        peer.send(data)
`;
/** The 5th percentile of round trips to an address in half a second, in µs. */
const PING = `${ON_ONE_CORE}
peer = socket.create_connection((sys.argv[1], ${PING_PORT}))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
trips, end = [], time.perf_counter() + 0.5
while (start := time.perf_counter()) < end:
    peer.send(b'x' * 32)
    peer.recv(64)
    trips.append(time.perf_counter() - start)
print(sorted(trips)[len(trips) // 20] * 1e6)
`;

const run = promisify(execFile);
const ip = (...args: string[]): Promise<unknown> => run('ip', args);

async function addBareLink(
  host: LabHost,
  remote: LabHost,
  netnsPath: string,
  address: string,
): Promise<void> {
  const ends = ['local', host.address, 'remote', remote.address];
  const vxlan = ['type', 'vxlan', 'id', BARE.vni, 'dstport', BARE.port, ...ends];
  await ip('-n', host.netns, 'link', 'add', 'name', BARE.link, ...vxlan);
  await ip('-n', host.netns, 'link', 'set', BARE.link, 'netns', netnsPath);
  const inside = (...args: string[]): Promise<unknown> =>
    run('nsenter', [`--net=${netnsPath}`, 'ip', ...args]);
  await inside('address', 'add', `${address}/24`, 'dev', BARE.link);
  await inside('link', 'set', BARE.link, 'mtu', '1450', 'up');
}

/** Whether packets between ports of a bridge go through nftables and connection tracking. */
async function filterBridges(host: LabHost, isOn: boolean): Promise<void> {
  const setting = `net.bridge.bridge-nf-call-iptables=${isOn ? 1 : 0}`;
  await run('nsenter', [`--net=${host.netnsPath}`, 'sysctl', '-w', setting]);
}

/** Both hosts' cards send no more than that from now on; 0 = as much as they can. */
async function limitLinks(hosts: readonly LabHost[], rateGbit: number): Promise<void> {
  const rate = ['tbf', 'rate', `${rateGbit * 1000}mbit`, 'burst', '4mb', 'latency', '5ms'];
  for (const host of hosts) {
    const qdisc = ['qdisc', rateGbit > 0 ? 'replace' : 'del', 'dev', 'eth0', 'root'];
    await run('tc', ['-n', host.netns, ...qdisc, ...(rateGbit > 0 ? rate : [])]);
  }
}

/** Gbit/s, as the receiver counts them. */
async function measure(netnsPath: string, to: string): Promise<number> {
  const args = [`--net=${netnsPath}`, 'iperf3', '-c', to, '-t', String(SECONDS), '-J'];
  const { stdout } = await run('nsenter', args, { maxBuffer: 16 * 1024 * 1024 });
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e9;
}

/** µs */
async function roundTrip(netnsPath: string, to: string): Promise<number> {
  const { stdout } = await run('nsenter', [`--net=${netnsPath}`, 'python3', '-c', PING, to]);
  return Number(stdout);
}

interface Turn {
  gbit: number;
  tripUs: number;
}

async function takeTurn(netnsPath: string, to: string): Promise<Turn> {
  return { gbit: await measure(netnsPath, to), tripUs: await roundTrip(netnsPath, to) };
}

for (const command of ['iperf3', 'python3']) {
  await run(command, ['--version']).catch(() => {
    throw new Error(`${command} is missing: apt-get install ${command}`);
  });
}
const lab = new NetLab();
try {
  const [near, far] = [await lab.addHost(), await lab.addHost()];
  const state = {
    networks: [network('app', 1)],
    services: [service('app', 'web', VIRTUAL)],
    endpoints: [endpoint('app', far.id, 'web', 1, SERVER), endpoint('app', near.id, '', 1, CLIENT)],
    peers: peers(lab.hosts),
  };
  const attach = async (host: LabHost, id: string, address: string): Promise<string> => {
    await host.apply(state);
    const attachments = [{ networkId: 'app', address: `${address}/24` }];
    return (await host.attach({ id, attachments, hostPorts: [] })).netnsPath;
  };
  const server = await attach(far, 'server', SERVER);
  const client = await attach(near, 'client', CLIENT);
  await addBareLink(far, near, server, BARE.server);
  await addBareLink(near, far, client, BARE.client);
  const iperf = spawn('nsenter', [`--net=${server}`, 'iperf3', '-s', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(iperf.stdout, 'data');
  iperf.stdout.resume();
  await lab.servePython(server, PING_SERVER);
  // what they made stays; alive, they would soon put right what is changed here
  for (const host of lab.hosts) await host.stop();
  const rounds: Record<'bare' | 'plain' | 'direct' | 'virtual', Turn>[] = [];
  const limited: Record<'bare' | 'direct', number>[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const bare = await takeTurn(client, BARE.server);
    for (const host of lab.hosts) await filterBridges(host, false);
    const plain = await takeTurn(client, SERVER);
    for (const host of lab.hosts) await filterBridges(host, true);
    const direct = await takeTurn(client, SERVER);
    const virtual = await takeTurn(client, VIRTUAL);
    rounds.push({ bare, plain, direct, virtual });
    await limitLinks(lab.hosts, LINK_GBIT);
    limited.push({
      bare: await measure(client, BARE.server),
      direct: await measure(client, SERVER),
    });
    await limitLinks(lab.hosts, 0);
    const turns = [bare, plain, direct, virtual];
    console.log(turns.map((t) => `${t.gbit.toFixed(2)} ${t.tripUs.toFixed(1)} us`).join('   '));
  }
  iperf.kill('SIGKILL');
  await once(iperf, 'exit');
  const ratio = (of: (round: (typeof rounds)[number]) => number): string =>
    `${(median(rounds.map(of)) * 100).toFixed(1)} %`;
  const gbit = (of: (round: (typeof rounds)[number]) => Turn): string =>
    `${median(rounds.map((r) => of(r).gbit)).toFixed(2)} Gbit/s`;
  const trip = (of: (round: (typeof rounds)[number]) => Turn): string =>
    `${median(rounds.map((r) => of(r).tripUs)).toFixed(1)} us`;
  printRows([
    {
      what: 'overlay, container to container on another host',
      ours: gbit((r) => r.direct),
      peer: `bare VXLAN ${gbit((r) => r.bare)}`,
      ratio: ratio((r) => r.direct.gbit / r.bare.gbit),
      budget: '>= 97 %',
    },
    {
      what: `the same over a link of ${LINK_GBIT} Gbit/s`,
      ours: `${median(limited.map((r) => r.direct)).toFixed(2)} Gbit/s`,
      peer: `bare VXLAN ${median(limited.map((r) => r.bare)).toFixed(2)} Gbit/s`,
      ratio: `${(median(limited.map((r) => r.direct / r.bare)) * 100).toFixed(1)} %`,
      budget: '>= 97 %',
    },
    {
      what: 'the same bridges, unseen by nftables',
      ours: gbit((r) => r.plain),
      peer: `bare VXLAN ${gbit((r) => r.bare)}`,
      ratio: ratio((r) => r.plain.gbit / r.bare.gbit),
      budget: '',
    },
    {
      what: 'the overlay through a virtual address',
      ours: gbit((r) => r.virtual),
      peer: `direct ${gbit((r) => r.direct)}`,
      ratio: ratio((r) => r.virtual.gbit / r.direct.gbit),
      budget: '>= 95 %',
    },
    {
      what: 'round trip by the overlay, on one core',
      ours: trip((r) => r.direct),
      peer: `bare VXLAN ${trip((r) => r.bare)}`,
      ratio: ratio((r) => r.direct.tripUs / r.bare.tripUs),
      budget: '',
    },
    {
      what: 'round trip by the same bridges, unseen by nftables',
      ours: trip((r) => r.plain),
      peer: `bare VXLAN ${trip((r) => r.bare)}`,
      ratio: ratio((r) => r.plain.tripUs / r.bare.tripUs),
      budget: '',
    },
    {
      what: 'round trip by a virtual address',
      ours: trip((r) => r.virtual),
      peer: `direct ${trip((r) => r.direct)}`,
      ratio: ratio((r) => r.virtual.tripUs / r.direct.tripUs),
      budget: '',
    },
  ]);
} finally {
  await lab.close();
}
