/**
 * TCP between two containers on two hosts (network namespaces of this machine): over an overlay
 * network, through a virtual address, over the same bridges unseen by nftables, and over nothing but
 * a VXLAN link between the same containers. They take turns; a ratio is of one round, and the median
 * of all rounds counts.
 * Needs root and iperf3 (apt-get install iperf3).
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

/** Gbit/s, as the receiver counts them. */
async function measure(netnsPath: string, to: string): Promise<number> {
  const args = [`--net=${netnsPath}`, 'iperf3', '-c', to, '-t', String(SECONDS), '-J'];
  const { stdout } = await run('nsenter', args, { maxBuffer: 16 * 1024 * 1024 });
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e9;
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
  const rounds: Record<'bare' | 'plain' | 'direct' | 'virtual', number>[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const bare = await measure(client, BARE.server);
    for (const host of lab.hosts) await filterBridges(host, false);
    const plain = await measure(client, SERVER);
    for (const host of lab.hosts) await filterBridges(host, true);
    const direct = await measure(client, SERVER);
    const virtual = await measure(client, VIRTUAL);
    rounds.push({ bare, plain, direct, virtual });
    console.log([bare, plain, direct, virtual].map((g) => g.toFixed(2)).join('  '));
  }
  iperf.kill('SIGKILL');
  await once(iperf, 'exit');
  const ratio = (of: (round: (typeof rounds)[number]) => number): string =>
    `${(median(rounds.map(of)) * 100).toFixed(1)} %`;
  const gbit = (of: (round: (typeof rounds)[number]) => number): string =>
    `${median(rounds.map(of)).toFixed(2)} Gbit/s`;
  printRows([
    {
      what: 'overlay, container to container on another host',
      ours: gbit((r) => r.direct),
      peer: `bare VXLAN ${gbit((r) => r.bare)}`,
      ratio: ratio((r) => r.direct / r.bare),
      budget: '>= 97 %',
    },
    {
      what: 'the same bridges, unseen by nftables',
      ours: gbit((r) => r.plain),
      peer: `bare VXLAN ${gbit((r) => r.bare)}`,
      ratio: ratio((r) => r.plain / r.bare),
      budget: '',
    },
    {
      what: 'the overlay through a virtual address',
      ours: gbit((r) => r.virtual),
      peer: `direct ${gbit((r) => r.direct)}`,
      ratio: ratio((r) => r.virtual / r.direct),
      budget: '>= 95 %',
    },
  ]);
} finally {
  await lab.close();
}
