/**
 * The service load balancer: a node takes over N services with two tasks each, spread over networks
 * of 100 services, then one more service, one backend more, and sandboxes one after the other: first
 * the part of nftables alone (planning, and telling the kernel), then through the driver, so that
 * links, tunnels' forwarding entries and names are included. At last, how long the first packet of a
 * connection takes there and back, by a virtual address and without one.
 * Needs root; runs in a network namespace of its own.
 *   npx tsx bench/overlay-lb.ts [SERVICES…]
 */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '../common/adapters/system-clock.js';
import { silentLogger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import type { Nftables } from '../linux/ports.js';
import { formatAddress } from '../overlay-net/core/ipam.js';
import type { NetworkDriver, NetworkState } from '../overlay-net/driver.js';
import { NftTable } from '../overlay-net/lb/nft-table.js';
import { openNetworkDriver } from '../overlay-net/linux-driver.js';
import type { NetworkEndpoint, NetworkService } from '../proto/gen/hatoba/v1/dispatcher.js';
import { median, printRows, type BenchRow } from './support/figures.js';

const SERVICES_PER_NETWORK = 100;
const CHANGES = 21;
const SANDBOXES = 25;
const FIRST_PACKETS = 3000;
const FIRST_SUBNET = 0x0a800000; // 10.128.0.0, /22 each

const subnetBase = (network: number): number => FIRST_SUBNET + network * 1024;

function makeService(i: number): { service: NetworkService; endpoints: NetworkEndpoint[] } {
  const network = Math.floor(i / SERVICES_PER_NETWORK);
  const place = i % SERVICES_PER_NETWORK;
  const networkId = `net${network}`;
  const serviceId = `svc${i}`;
  const base = subnetBase(network) + 10 + place * 4;
  return {
    service: {
      networkId,
      serviceId,
      name: serviceId,
      aliases: [],
      mode: 'ENDPOINT_MODE_VIP',
      virtualIp: formatAddress(base),
      sessionAffinity: 'SESSION_AFFINITY_NONE',
      ports: [],
    },
    endpoints: [1, 2].map((slot) => makeEndpoint(networkId, serviceId, slot, base + slot)),
  };
}

function makeEndpoint(
  networkId: string,
  serviceId: string,
  slot: number,
  address: number,
): NetworkEndpoint {
  return {
    networkId,
    taskId: `${serviceId}.${slot}`,
    serviceId,
    nodeId: slot === 1 ? 'n1' : 'n2',
    address: formatAddress(address),
    slot,
    aliases: [],
    name: `${serviceId}.${slot}.x`,
    ready: true,
  };
}

function makeState(services: number): NetworkState {
  const made = Array.from({ length: services }, (_, i) => makeService(i));
  const networks = Math.ceil((services + CHANGES) / SERVICES_PER_NETWORK);
  return {
    nodeId: 'n1',
    networks: Array.from({ length: networks }, (_, n) => ({
      networkId: `net${n}`,
      name: `net${n}`,
      driver: 'overlay',
      subnets: [
        { subnet: `${formatAddress(subnetBase(n))}/22`, gateway: formatAddress(subnetBase(n) + 1) },
      ],
      dataPathPort: 0,
      hostAccess: false,
      vni: 0x1000 + n,
      mtuBytes: 0,
      internal: false,
      ingress: false,
    })),
    endpoints: made.flatMap((m) => m.endpoints),
    services: made.map((m) => m.service),
    peers: [1, 2].map((index) => ({
      nodeId: `n${index}`,
      index,
      dataPathAddress: `192.0.2.${index}`,
    })),
  };
}

async function ms(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

interface Figure {
  what: string;
  timeMs: number;
  budgetMs?: number;
}

/** The state with one service more than before. */
function withOneMore(state: NetworkState, index: number): NetworkState {
  const { service, endpoints } = makeService(index);
  return {
    ...state,
    services: [...state.services, service],
    endpoints: [...state.endpoints, ...endpoints],
  };
}

async function measureTable(nftables: Nftables, services: number): Promise<Figure[]> {
  const table = new NftTable({ nftables, logger: silentLogger });
  const input = { hostPorts: [], ports: [], underlayAddress: '192.0.2.1' };
  let state = makeState(services);
  const load = await ms(() => table.apply({ ...input, state }));
  const added: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    state = withOneMore(state, services + i);
    added.push(await ms(() => table.apply({ ...input, state })));
  }
  await table.remove();
  return [
    { what: 'nftables, take over all', timeMs: load, budgetMs: 1000 },
    { what: 'nftables, one service more (median)', timeMs: median(added), budgetMs: 15 },
  ];
}

async function measureDriver(driver: NetworkDriver, services: number): Promise<Figure[]> {
  let state = makeState(services);
  const load = await ms(() => driver.apply(state));
  const added: number[] = [];
  const changed: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    state = withOneMore(state, services + i);
    added.push(await ms(() => driver.apply(state)));
    // the first backend of the first service comes and goes
    const all = state.endpoints.map((e, at) => (at === 0 ? { ...e, ready: !e.ready } : e));
    state = { ...state, endpoints: all };
    changed.push(await ms(() => driver.apply(state)));
  }
  const attached: number[] = [];
  for (let i = 0; i < SANDBOXES; i++) {
    const address = `${formatAddress(subnetBase(0) + 600 + i)}/22`;
    const attachments = [{ networkId: 'net0', address }];
    attached.push(await ms(() => driver.attach({ id: `s${i}`, attachments, hostPorts: [] })));
  }
  return [
    { what: 'the driver, take over all', timeMs: load },
    { what: 'the driver, one service more (median)', timeMs: median(added) },
    { what: 'the driver, one backend comes or goes (median)', timeMs: median(changed) },
    { what: 'a sandbox (median)', timeMs: median(attached) },
    ...(await measureFirstPackets(driver, state)),
  ];
}

const UDP_ECHO = `
const u = require('dgram').createSocket('udp4');
u.on('message', (m, from) => u.send(m, from.port, from.address)).bind(80, () => console.log('ready'));`;

/** Prints the median round trip of the first packets from as many sockets, in microseconds. */
const UDP_FIRST = `
const [, host, count] = process.argv;
const times = [];
function next() {
  if (times.length === Number(count)) {
    console.log(times.sort((a, b) => a - b)[times.length >> 1] / 1000);
    return;
  }
  const u = require('dgram').createSocket('udp4');
  u.on('message', () => { times.push(Number(process.hrtime.bigint() - start)); u.close(next); });
  let start;
  u.bind(0, () => { start = process.hrtime.bigint(); u.send('x', 80, host); });
}
next();`;

/** A service of one task, and a client beside it on the same network. */
async function measureFirstPackets(driver: NetworkDriver, before: NetworkState): Promise<Figure[]> {
  const [virtualIp, server, client] = [1000, 1001, 1002].map((n) =>
    formatAddress(subnetBase(0) + n),
  ) as [string, string, string];
  const { service } = makeService(0);
  await driver.apply({
    ...before,
    services: [...before.services, { ...service, serviceId: 'echo', name: 'echo', virtualIp }],
    endpoints: [...before.endpoints, makeEndpoint('net0', 'echo', 1, subnetBase(0) + 1001)],
  });
  const attach = async (id: string, address: string): Promise<string> => {
    const attachments = [{ networkId: 'net0', address: `${address}/22` }];
    return (await driver.attach({ id, attachments, hostPorts: [] })).netnsPath;
  };
  const [at, from] = [await attach('echo', server), await attach('client', client)];
  const nodeIn = (path: string, ...args: string[]): string[] => [
    `--net=${path}`,
    process.execPath,
    '-e',
    ...args,
  ];
  const echo = spawn('nsenter', nodeIn(at, UDP_ECHO), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(echo.stdout, 'data');
  try {
    const figures: Figure[] = [];
    for (const [how, host] of [
      ['directly', server],
      ['by a virtual address', virtualIp],
    ] as const) {
      const args = nodeIn(from, UDP_FIRST, host, String(FIRST_PACKETS));
      const { stdout } = await promisify(execFile)('nsenter', args);
      figures.push({ what: `first packet and its answer, ${how}`, timeMs: Number(stdout) / 1000 });
    }
    return figures;
  } finally {
    echo.kill('SIGKILL');
    await once(echo, 'exit');
  }
}

function toRow(services: number, { what, timeMs, budgetMs }: Figure): BenchRow {
  const format = (time: number): string =>
    time < 1 ? `${(time * 1000).toFixed(0)} µs` : `${time.toFixed(time < 100 ? 1 : 0)} ms`;
  return {
    what: `${services} services: ${what}`,
    ours: format(timeMs),
    peer: '-',
    ratio: '-',
    budget: budgetMs === undefined ? '-' : `≤ ${budgetMs} ms`,
  };
}

async function main(counts: readonly number[]): Promise<void> {
  execFileSync('ip', ['address', 'add', '192.0.2.1/24', 'dev', 'lo']);
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const rows: BenchRow[] = [];
  for (const count of counts) {
    const folder = mkdtempSync(join(tmpdir(), 'hatoba-bench-lb-'));
    const options = { stateDir: join(folder, 'state'), runDir: join(folder, 'run') };
    const kernel = await openKernel({
      onFailure: (error) => {
        throw error;
      },
    });
    const modules = { kernel, clock: systemClock, logger: silentLogger };
    const driver = await openNetworkDriver({ ...options, upstreams: [] }, modules);
    try {
      const figures = await measureTable(kernel.nftables, count);
      figures.push(...(await measureDriver(driver, count)));
      rows.push(...figures.map((figure) => toRow(count, figure)));
    } finally {
      await driver.teardown();
      await driver[Symbol.asyncDispose]();
      await kernel[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    }
  }
  printRows(rows);
}

const INSIDE = '--inside';
if (process.argv.includes(INSIDE)) {
  const counts = process.argv
    .slice(2)
    .map(Number)
    .filter((n) => n > 0);
  await main(counts.length > 0 ? counts : [10, 1000, 30_000]);
} else {
  const script = fileURLToPath(import.meta.url);
  const args = ['--net', process.execPath, '--import', 'tsx', script, ...process.argv.slice(2)];
  process.exitCode = spawnSync('unshare', [...args, INSIDE], { stdio: 'inherit' }).status ?? 1;
}
