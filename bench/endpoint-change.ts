/**
 * How soon a change of one endpoint is live on every node: from the answer of the store to the
 * commit, until links, tunnels' forwarding entries, nftables and names of each node have it; and how
 * soon after a stop was asked for its order goes out, as all nodes have left the task. A real etcd,
 * the dispatcher of a manager, and the network paths of ten agents, each in a namespace of its own.
 * Needs root and etcd; runs in a network namespace of its own.
 *   npx tsx bench/endpoint-change.ts [CHANGES] [NODES]
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { silentLogger } from '../common/logger.js';
import type { Task } from '../common/model/objects.js';
import { AssignmentModel } from '../manager/core/assignments/assignment-model.js';
import type { Change } from '../manager/core/snapshot.js';
import { DispatcherServer } from '../manager/rpc/dispatcher-server.js';
import { applyPlan } from '../manager/store/write.js';
import { Reflector } from '../manager/view/reflector.js';
import { View } from '../manager/view/view.js';
import { formatAddress, parseAddress } from '../overlay-net/core/ipam.js';
import { NodeRole, TaskState } from '../proto/gen/hatoba/v1/types.js';
import { listenTls } from '../proto/wire/server.js';
import { aCluster, aNetwork, aService, aTask } from '../test/support/builders.js';
import { startTestEtcd } from '../test/support/etcd.js';
import { median, percentile, printRows, type BenchRow } from './support/figures.js';
import type { NodeOptions, Sight } from './support/node-network.js';

const [CHANGES = 200, NODES = 10] = process.argv
  .slice(2)
  .map(Number)
  .filter((n) => n > 0);
const NODE = fileURLToPath(new URL('./support/node-network.ts', import.meta.url));
const MANAGER = '192.0.2.100';
const SERVICES = 100;
const TIMEOUT_MS = 60_000;
/** Between two changes: each is measured by itself, as the nodes share the cores of one machine. */
const PAUSE_MS = 150;

const network = aNetwork({
  spec: { name: 'bench' },
  vni: 5000,
  ipam: [{ subnet: '10.128.0.0/16', gateway: '10.128.0.1', ipRange: '' }],
});
const FIRST_ADDRESS = parseAddress('10.128.1.0');

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** The processes of the nodes, and when each saw what. */
class Nodes {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ht-bench-ec-'));
  readonly #processes: ChildProcess[] = [];
  /** "<node> <what>" → since when, in ms. */
  readonly #seen = new Map<string, number>();
  #wake: () => void = () => undefined;

  /** The underlay is a bridge of this process's own namespace. */
  addUnderlay(): void {
    ip('link', 'set', 'lo', 'up');
    ip('link', 'add', 'name', 'u0', 'up', 'type', 'bridge');
    ip('address', 'add', `${MANAGER}/24`, 'dev', 'u0');
  }

  start(index: number, options: Pick<NodeOptions, 'identity' | 'manager'>): void {
    const netns = this.#netns(index);
    const address = `192.0.2.${index}`;
    ip('netns', 'add', netns);
    ip('-n', netns, 'link', 'set', 'lo', 'up');
    ip('link', 'add', `p${index}`, 'type', 'veth', 'peer', 'eth0', 'netns', netns);
    ip('link', 'set', `p${index}`, 'master', 'u0', 'up');
    ip('-n', netns, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    ip('-n', netns, 'link', 'set', 'eth0', 'up');
    const args = [`--net=/run/netns/${netns}`, process.execPath, '--import', 'tsx', NODE];
    const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#processes.push(child);
    const nodeId = `n${index}`;
    const folder = join(this.#folder, nodeId);
    const all: NodeOptions = { ...options, nodeId, address, folder };
    child.stdin.write(`${JSON.stringify(all)}\n`);
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#onSight(nodeId, JSON.parse(line) as Sight);
    });
  }

  /** When each of the nodes saw it, in ms of the clock of all processes. */
  async saw(nodeIds: readonly string[], what: string): Promise<number[]> {
    const giveUpAtMs = monotonicMs() + TIMEOUT_MS;
    for (;;) {
      const seen = nodeIds.flatMap((id) => this.#seen.get(`${id} ${what}`) ?? []);
      if (seen.length === nodeIds.length) return seen;
      if (monotonicMs() > giveUpAtMs)
        throw new Error(`${seen.length} of ${nodeIds.join()}: ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, TIMEOUT_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async close(): Promise<void> {
    for (const child of this.#processes) {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.stdin?.end();
      await exited;
    }
    for (let i = 1; i <= this.#processes.length; i++) ip('netns', 'delete', this.#netns(i));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #onSight(nodeId: string, sight: Sight): void {
    const state = sight.what === 'endpoint' ? sight.state : sight.desired;
    const key = `${nodeId} ${sight.taskId} ${state}`;
    if (!this.#seen.has(key)) this.#seen.set(key, Number(BigInt(sight.atNs)) / 1e6);
    this.#wake();
  }

  #netns(index: number): string {
    return `${basename(this.#folder)}-${index}`;
  }
}

function taskOf(service: number, slot: number, generation = 1): Task {
  const address = formatAddress(FIRST_ADDRESS + service * 8 + slot);
  return aTask({
    id: `t${service}-${slot}-${generation}`,
    ...{ serviceId: `id-s${service}`, slot, generation },
    nodeId: `n${((service + slot) % NODES) + 1}`,
    networksAttachments: [
      { networkId: network.id, networkName: 'bench', addresses: [`${address}/16`] },
    ],
    status: { state: TaskState.RUNNING },
  });
}

/** Two tasks for each service: every node has some, and knows of all. */
function content(): Change[] {
  const vip = (i: number): string => `${formatAddress(FIRST_ADDRESS + i * 8)}/16`;
  const services = Array.from({ length: SERVICES }, (_, i) =>
    aService({
      spec: { name: `s${i}`, taskTemplate: { networks: [{ target: network.id }] } },
      endpoint: { virtualIps: [{ networkId: network.id, addr: vip(i) }] },
    }),
  );
  const tasks = services.flatMap((_, i) => [taskOf(i, 1), taskOf(i, 2)]);
  const create = (kind: Change['kind'], object: object): Change =>
    ({ action: 'create', kind, object }) as Change;
  return [
    create('cluster', aCluster()),
    create('network', network),
    ...services.map((s) => create('service', s)),
    ...tasks.map((t) => create('task', t)),
  ];
}

interface Figures {
  readonly up: number[][];
  readonly left: number[][];
  readonly local: number[];
  readonly orders: number[];
}

/** @param write resolves with when the store said that it is done */
async function measure(
  nodes: Nodes,
  write: (change: Change) => Promise<number>,
  read: (id: string) => Task,
): Promise<Figures> {
  const all = Array.from({ length: NODES }, (_, i) => `n${i + 1}`);
  const figures: Figures = { up: [], left: [], local: [], orders: [] };
  for (let i = 0; i < CHANGES; i++) {
    const task = taskOf(i % SERVICES, 3, i + 1);
    const upAtMs = await write({ action: 'create', kind: 'task', object: task });
    const up = await nodes.saw(all, `${task.id} ready`);
    figures.up.push(up.map((ms) => ms - upAtMs));
    const [own = NaN] = await nodes.saw([task.nodeId], `${task.id} ready`);
    figures.local.push(own - upAtMs);
    await pause();
    const stopped = { ...read(task.id), desiredState: TaskState.SHUTDOWN };
    const leftAtMs = await write({ action: 'update', kind: 'task', object: stopped });
    const left = await nodes.saw(all, `${task.id} not ready`);
    figures.left.push(left.map((ms) => ms - leftAtMs));
    const [order = NaN] = await nodes.saw([task.nodeId], `${task.id} ${TaskState.SHUTDOWN}`);
    figures.orders.push(order - leftAtMs);
    await pause();
    await write({ action: 'remove', kind: 'task', object: read(task.id) });
    await nodes.saw(all, `${task.id} gone`);
    await pause();
  }
  return figures;
}

function rowOf(what: string, values: readonly number[], budget: string): BenchRow {
  const ms = (value: number): string => value.toFixed(1);
  const ours = `p50 ${ms(median(values))}  p99 ${ms(percentile(values, 99))}  most ${ms(Math.max(...values))} ms`;
  return { what, ours, peer: '-', ratio: '-', budget };
}

function print({ up, left, local, orders }: Figures): void {
  const slowest = (all: readonly number[][]): number[] => all.map((ms) => Math.max(...ms));
  console.log(`${CHANGES} tasks come and go on ${NODES} nodes, ${SERVICES} services beside them`);
  printRows([
    rowOf('a new endpoint is live on each node', up.flat(), '-'),
    rowOf('… on all of them', slowest(up), 'p99 <= 50 ms'),
    rowOf('… on its own node', local, '-'),
    rowOf('an endpoint is left by each node', left.flat(), '-'),
    rowOf('… by all of them', slowest(left), 'p99 <= 50 ms'),
    rowOf('and its stop goes out after', orders, '-'),
  ]);
}

async function main(): Promise<void> {
  const nodes = new Nodes();
  nodes.addUnderlay();
  const etcd = await startTestEtcd();
  const store = etcd.openStore();
  const [clock, random, logger] = [systemClock, systemRandom, silentLogger];
  const view = new View();
  const reflector = new Reflector({ store, view, clock, random, logger });
  await reflector.start();
  const cluster = { store, view, clock };
  const dispatcher = new DispatcherServer({
    ...{ cluster, model: new AssignmentModel(), random, logger },
    own: { nodeId: 'm1', address: `${MANAGER}:4400` },
    probe: () => Promise.resolve('silent' as const),
    onSession: () => undefined,
  });
  const { identity, ca } = etcd;
  const services = [dispatcher.service()];
  const server = await listenTls({ host: MANAGER, port: 4400, identity, services, logger });
  const write = async (...changes: Change[]): Promise<number> => {
    const plan = { groups: changes.map((c) => [c]) };
    const { revision, conflicts } = await applyPlan(store, plan, { clock });
    const doneAtMs = monotonicMs();
    if (conflicts > 0) throw new Error('a node wrote over what the benchmark writes');
    await view.waitFor(revision);
    return doneAtMs;
  };
  try {
    await write(...content());
    for (let i = 1; i <= NODES; i++) {
      const issue = { nodeId: `n${i}`, role: NodeRole.WORKER, clusterId: 'cluster', addresses: [] };
      nodes.start(i, { identity: await ca.issue(issue), manager: `${MANAGER}:4400` });
    }
    const all = Array.from({ length: NODES }, (_, i) => `n${i + 1}`);
    for (let i = 0; i < SERVICES; i++) await nodes.saw(all, `t${i}-1-1 ready`);
    print(await measure(nodes, write, (id) => view.findByPrefix('task', id)));
  } finally {
    await nodes.close();
    await server[Symbol.asyncDispose]();
    await dispatcher[Symbol.asyncDispose]();
    await reflector[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    await etcd[Symbol.asyncDispose]();
  }
}

const INSIDE = '--inside';
if (process.argv.includes(INSIDE)) {
  await main();
} else {
  const script = fileURLToPath(import.meta.url);
  const args = ['--net', process.execPath, '--import', 'tsx', script, ...process.argv.slice(2)];
  process.exitCode = spawnSync('unshare', [...args, INSIDE], { stdio: 'inherit' }).status ?? 1;
}
