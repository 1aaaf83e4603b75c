/**
 * Names: what one question costs the agent. The server is the driver's own, with 1,000 services of
 * ten tasks on 20 networks and a hundred sandboxes; a process in one of the sandboxes asks the
 * gateway. Figures are questions per second of the server's own CPU time (user and system), so that
 * neither the asker nor the machine's other work counts; beside it dnsmasq with the same names,
 * where it is installed (Debian's dnsmasq-base).
 * Needs root; runs in a network namespace of its own.
 *   npx tsx bench/dns.ts [QUESTIONS]
 */
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '../common/adapters/system-clock.js';
import { DisposableStack } from '../common/disposable.js';
import { silentLogger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import { formatAddress } from '../overlay-net/core/ipam.js';
import type { NetworkDriver, NetworkState } from '../overlay-net/driver.js';
import { openNetworkDriver } from '../overlay-net/linux-driver.js';
import type { NetworkEndpoint, NetworkService } from '../proto/gen/hatoba/v1/dispatcher.js';
import type { DnsLoad, DnsLoadResult } from './support/dns-load.js';
import { printRows, type BenchRow } from './support/figures.js';

const NETWORKS = 20;
const SERVICES_PER_NETWORK = 50;
const TASKS = 10;
const SANDBOXES = 100;
const BUDGET = 10_000;
const CHANGES_PER_SECOND = 50;
const FIRST_SUBNET = 0x0a800000; // 10.128.0.0, /22 each
const DNSMASQ = '/usr/sbin/dnsmasq';
const DNSMASQ_PORT = 5353;

/** Answers everything with "there is nothing of that type". */
const UPSTREAM = `
const u = require('dgram').createSocket('udp4');
u.on('message', (m, from) => { m[2] |= 0x80; u.send(m, from.port, from.address); });
u.bind(53, '127.0.0.1', () => console.log('ready'));`;

const base = (network: number): number => FIRST_SUBNET + network * 1024;
const gateway = (network: number): string => formatAddress(base(network) + 1);

function makeService(network: number, place: number): NetworkService {
  const name = `svc${network * SERVICES_PER_NETWORK + place}`;
  const isVip = place % 2 === 0;
  return {
    networkId: `net${network}`,
    serviceId: name,
    name: `shop_${name}`,
    aliases: [name],
    mode: isVip ? 'ENDPOINT_MODE_VIP' : 'ENDPOINT_MODE_DNSRR',
    virtualIp: isVip ? formatAddress(base(network) + 10 + place * (TASKS + 1)) : '',
    sessionAffinity: 'SESSION_AFFINITY_NONE',
    ports: [],
  };
}

function makeTasks({ networkId, serviceId }: NetworkService, first: number): NetworkEndpoint[] {
  return Array.from({ length: TASKS }, (_, i) => ({
    networkId,
    taskId: `${serviceId}.${i + 1}`,
    serviceId,
    nodeId: i % 2 === 0 ? 'n1' : 'n2',
    address: formatAddress(first + i),
    slot: i + 1,
    aliases: [],
    name: `shop_${serviceId}.${i + 1}.x`,
    ready: true,
  }));
}

function makeState(): NetworkState {
  const numbers = Array.from({ length: NETWORKS }, (_, n) => n);
  const places = Array.from({ length: SERVICES_PER_NETWORK }, (_, p) => p);
  const made = numbers.flatMap((network) =>
    places.map((place) => {
      const service = makeService(network, place);
      return { service, tasks: makeTasks(service, base(network) + 11 + place * (TASKS + 1)) };
    }),
  );
  return {
    nodeId: 'n1',
    networks: numbers.map((n) => ({
      networkId: `net${n}`,
      name: `net${n}`,
      driver: 'overlay',
      subnets: [{ subnet: `${formatAddress(base(n))}/22`, gateway: gateway(n) }],
      dataPathPort: 0,
      hostAccess: true, // for the peer's port
      vni: 0x1000 + n,
      mtuBytes: 0,
      internal: false,
      ingress: false,
    })),
    services: made.map((m) => m.service),
    endpoints: made.flatMap((m) => m.tasks),
    peers: [1, 2].map((index) => ({
      nodeId: `n${index}`,
      index,
      dataPathAddress: `192.0.2.${index}`,
    })),
  };
}

type Questions = DnsLoad['questions'];
/** Services of the first network: those of even number have a virtual address. */
const services = Array.from({ length: SERVICES_PER_NETWORK }, (_, place) => `svc${place}`);
const virtual = services.filter((_, place) => place % 2 === 0);
const ours: Questions = virtual.map((name) => ({ name, type: 'A', answers: 1 }));
const foreign: Questions = virtual.map((name) => ({
  name: `${name}.example.org`,
  type: 'A',
  answers: 0,
}));
const reversed = (n: number): string => formatAddress(n).split('.').reverse().join('.');

const LOADS: { what: string; questions: Questions; transport?: 'tcp'; budget?: number }[] = [
  { what: 'virtual address', questions: ours, budget: BUDGET },
  {
    what: 'address, then IPv6 address',
    questions: ours.flatMap((q) => [q, { ...q, type: 'AAAA', answers: 0 }]),
    budget: BUDGET,
  },
  {
    what: 'ten tasks',
    questions: services.map((name) => ({ name: `tasks.${name}`, type: 'A', answers: TASKS })),
    budget: BUDGET,
  },
  {
    what: 'one slot',
    questions: services.map((name) => ({ name: `3.${name}`, type: 'A', answers: 1 })),
    budget: BUDGET,
  },
  {
    what: 'name of an address',
    questions: [10, 11, 12].map((n) => ({
      name: `${reversed(base(0) + n)}.in-addr.arpa`,
      type: 'PTR',
      answers: 1,
    })),
    budget: BUDGET,
  },
  { what: 'virtual address, by TCP', questions: ours, transport: 'tcp', budget: BUDGET },
  { what: 'one in ten of them foreign', questions: [...repeat(ours, 9), ...foreign] },
  { what: 'foreign', questions: foreign },
];

function repeat<T>(list: readonly T[], times: number): T[] {
  return Array.from({ length: times }, () => list).flat();
}

/** Runs the load inside a network namespace, and returns what came of it. */
async function ask(netnsPath: string, load: DnsLoad): Promise<DnsLoadResult> {
  const script = fileURLToPath(new URL('./support/dns-load.ts', import.meta.url));
  const args = [`--net=${netnsPath}`, process.execPath, '--import', 'tsx', script];
  const { stdout } = await promisify(execFile)('nsenter', [...args, JSON.stringify(load)]);
  return JSON.parse(stdout) as DnsLoadResult;
}

/** Answers per second of CPU time that a load costs; says so when answers were wrong or lost. */
async function rate(
  netnsPath: string,
  load: DnsLoad,
  cpuSeconds: () => number,
): Promise<{ text: string; perSecond: number }> {
  await ask(netnsPath, { ...load, count: Math.ceil(load.count / 10) }); // warm
  const before = cpuSeconds();
  const { answered, wrong, lost } = await ask(netnsPath, load);
  const perSecond = answered / (cpuSeconds() - before);
  const bad = wrong + lost === 0 ? '' : ` (${wrong} wrong, ${lost} lost)`;
  return { text: `${Math.round(perSecond)}/s${bad}`, perSecond };
}

function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Of another process, from /proc; in ticks of 10 ms. */
function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function startUpstream(stack: DisposableStack): Promise<void> {
  const child = spawn(process.execPath, ['-e', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] });
  stack.defer('upstream', () => end(child));
  await new Promise((resolve) => child.stdout.once('data', resolve));
}

async function end(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

/** The names of the first network in dnsmasq, on a port of its own. */
function startDnsmasq(stack: DisposableStack, folder: string, state: NetworkState): ChildProcess {
  const ofFirst = state.services.filter((s) => s.networkId === 'net0');
  const lines = ofFirst.flatMap(({ virtualIp, aliases: [name = ''] }) => {
    const tasks = state.endpoints.filter((e) => e.networkId === 'net0' && e.serviceId === name);
    return [
      ...(virtualIp === '' ? [] : [`${virtualIp} ${name}`]),
      ...tasks.map((t) => `${t.address} tasks.${name} ${t.slot}.${name}`),
    ];
  });
  const hosts = join(folder, 'hosts');
  writeFileSync(hosts, `${lines.join('\n')}\n`);
  const child = spawn(
    DNSMASQ,
    [
      ...['--keep-in-foreground', '--no-hosts', `--addn-hosts=${hosts}`, '--no-resolv'],
      ...['--conf-file=/dev/null', '--pid-file=', '--user=root', `--port=${DNSMASQ_PORT}`],
      ...['--server=127.0.0.1', '--cache-size=0', '--max-port=65000', '--dns-forward-max=10000'],
    ],
    { stdio: 'inherit' },
  );
  stack.defer('dnsmasq', () => end(child));
  return child;
}

async function measure(driver: NetworkDriver, count: number): Promise<BenchRow[]> {
  await using stack = new DisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'hatoba-bench-names-'));
  stack.defer('folder', () => rmSync(folder, { recursive: true, force: true }));
  const state = makeState();
  await driver.apply(state);
  await startUpstream(stack);
  const paths: string[] = [];
  for (let i = 0; i < SANDBOXES; i++) {
    const attachments = [{ networkId: 'net0', address: `${formatAddress(base(0) + 600 + i)}/22` }];
    paths.push((await driver.attach({ id: `s${i}`, attachments, hostPorts: [] })).netnsPath);
  }
  const netnsPath = paths.at(-1) ?? '';
  const dnsmasq = existsSync(DNSMASQ) ? startDnsmasq(stack, folder, state) : undefined;
  const rows: BenchRow[] = [];
  for (const { what, questions, transport = 'udp', budget } of LOADS) {
    const load: DnsLoad = { server: gateway(0), transport, questions, count };
    const own = await rate(netnsPath, load, ownCpuSeconds);
    const peer =
      dnsmasq?.pid === undefined || transport === 'tcp'
        ? undefined
        : await rate(netnsPath, { ...load, port: DNSMASQ_PORT }, () =>
            cpuSecondsOf(dnsmasq.pid ?? 0),
          );
    rows.push({
      what,
      ours: own.text,
      peer: peer?.text ?? (transport === 'tcp' ? 'a process per connection' : 'not installed'),
      ratio: peer === undefined ? '-' : (own.perSecond / peer.perSecond).toFixed(2),
      budget: budget === undefined ? '-' : `${budget}/s`,
    });
  }
  rows.push(await measureWhileChanging(driver, state, { netnsPath, count }));
  return rows;
}

/** The same while tasks come and go; what applying the states costs is in the figure. */
async function measureWhileChanging(
  driver: NetworkDriver,
  first: NetworkState,
  { netnsPath, count }: { netnsPath: string; count: number },
): Promise<BenchRow> {
  let state = first;
  let turn = 0;
  let applying = Promise.resolve();
  const change = (): void => {
    const at = turn++ % state.endpoints.length;
    const endpoints = state.endpoints.map((e, i) => (i === at ? { ...e, ready: !e.ready } : e));
    state = { ...state, endpoints };
    applying = driver.apply(state);
  };
  const timer = setInterval(change, 1000 / CHANGES_PER_SECOND);
  const load: DnsLoad = { server: gateway(0), transport: 'udp', questions: ours, count };
  const { text } = await rate(netnsPath, load, ownCpuSeconds);
  clearInterval(timer);
  await applying;
  return {
    what: `virtual address, ${CHANGES_PER_SECOND} changes a second`,
    ours: text,
    peer: '-',
    ratio: '-',
    budget: '-',
  };
}

async function main(count: number): Promise<void> {
  execFileSync('ip', ['address', 'add', '192.0.2.1/24', 'dev', 'lo']);
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const folder = mkdtempSync(join(tmpdir(), 'hatoba-bench-dns-'));
  const options = { stateDir: join(folder, 'state'), runDir: join(folder, 'run') };
  const kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  const modules = { kernel, clock: systemClock, logger: silentLogger };
  const driver = await openNetworkDriver({ ...options, upstreams: ['127.0.0.1'] }, modules);
  try {
    printRows(await measure(driver, count));
  } finally {
    await driver.teardown();
    await driver[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

const INSIDE = '--inside';
if (process.argv.includes(INSIDE)) {
  await main(
    process.argv
      .slice(2)
      .map(Number)
      .find((n) => n > 0) ?? 100_000,
  );
} else {
  const script = fileURLToPath(import.meta.url);
  const args = ['--net', process.execPath, '--import', 'tsx', script, ...process.argv.slice(2)];
  process.exitCode = spawnSync('unshare', [...args, INSIDE], { stdio: 'inherit' }).status ?? 1;
}
