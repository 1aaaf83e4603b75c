/**
 * The service load balancer: a node takes over N services with two tasks each, spread over networks
 * of 100 services, then one more service, one backend more, and sandboxes one after the other. All
 * through the driver, so links, tunnels' forwarding entries, nftables and names are included.
 * Needs root; runs in a network namespace of its own.
 *   npx tsx bench/overlay-lb.ts [SERVICES…]
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../common/adapters/system-clock.js';
import { silentLogger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import { formatAddress } from '../overlay-net/core/ipam.js';
import type { NetworkDriver, NetworkState } from '../overlay-net/driver.js';
import { openNetworkDriver } from '../overlay-net/linux-driver.js';
import type { NetworkEndpoint, NetworkService } from '../proto/gen/hatoba/v1/dispatcher.js';
import { median, printRows, type BenchRow } from './support/figures.js';

const SERVICES_PER_NETWORK = 100;
const CHANGES = 21;
const SANDBOXES = 25;
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

async function measure(driver: NetworkDriver, services: number): Promise<BenchRow[]> {
  let state = makeState(services);
  const load = await ms(() => driver.apply(state));
  const added: number[] = [];
  const changed: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    const { service, endpoints } = makeService(services + i);
    state = {
      ...state,
      services: [...state.services, service],
      endpoints: [...state.endpoints, ...endpoints],
    };
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
  const row = (what: string, timeMs: number): BenchRow => ({
    what: `${services} services: ${what}`,
    ours: `${timeMs.toFixed(timeMs < 100 ? 2 : 0)} ms`,
    peer: '-',
    ratio: '-',
    budget: '-',
  });
  return [
    row('take over all', load),
    row('one service more (median)', median(added)),
    row('one backend comes or goes (median)', median(changed)),
    row('a sandbox (median)', median(attached)),
  ];
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
      rows.push(...(await measure(driver, count)));
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
  await main(counts.length > 0 ? counts : [100, 1000, 10_000]);
} else {
  const script = fileURLToPath(import.meta.url);
  const args = ['--net', process.execPath, '--import', 'tsx', script, ...process.argv.slice(2)];
  process.exitCode = spawnSync('unshare', [...args, INSIDE], { stdio: 'inherit' }).status ?? 1;
}
