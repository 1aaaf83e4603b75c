/**
 * From a service's write to all of its tasks placed and committed: the control loops of a leading
 * manager, with its view and its events, on a real etcd (mTLS) with 5,000 registered nodes. And the
 * memory of that process when it has come to 50,000 tasks. Budgets: 5,000 tasks/s, 400 MB. The
 * figure per second of a processor says what other load on the machine hides. No peer runs here.
 * Needs etcd. The flag is what daemons are started with.
 *   node --max-semi-space-size=2 --import tsx bench/commit.ts [TASKS_PER_ROW] [NODES] [TASKS_AT_THE_END]
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { silentLogger } from '../common/logger.js';
import { newId } from '../common/model/ids.js';
import type { Node, Service } from '../common/model/objects.js';
import { leadTerm } from '../manager/controllers/term.js';
import { chunkChanges } from '../manager/core/plan-context.js';
import type { Change, Kind, ObjectOfKind } from '../manager/core/snapshot.js';
import { EventFile } from '../manager/events/event-file.js';
import { EventRecorder } from '../manager/events/event-recorder.js';
import { LEADER_KEY } from '../manager/store/keys.js';
import type { Guard, Store } from '../manager/store/store.js';
import { applyPlan } from '../manager/store/write.js';
import { Reflector } from '../manager/view/reflector.js';
import { View } from '../manager/view/view.js';
import { TaskState } from '../proto/gen/hatoba/v1/types.js';
import { aCluster, aNetwork, aNode, aService } from '../test/support/builders.js';
import { startTestEtcd } from '../test/support/etcd.js';
import { printRows, type BenchRow } from './support/figures.js';

const TASKS = Number(process.argv[2] ?? 20_000);
const NODES = Number(process.argv[3] ?? 5000);
const TASKS_AT_THE_END = Number(process.argv[4] ?? 50_000);
const NETWORK = { id: newId(systemRandom), subnet: '10.128.0.0/15' };
const MiB = 1024 ** 2;
/** V8 gives memory back when there has been little to do for a while. */
const REST_MS = 15_000;

const modules = { clock: systemClock, random: systemRandom, logger: silentLogger };

/** Counts what goes to the store. */
function counted(store: Store): { store: Store; commits: () => number } {
  let commits = 0;
  const counting: Store = {
    list: (prefix) => store.list(prefix),
    get: (key) => store.get(key),
    watch: (...of) => store.watch(...of),
    commit: (transaction) => {
      commits++;
      return store.commit(transaction);
    },
    grantLease: (ttlMs) => store.grantLease(ttlMs),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
  return { store: counting, commits: () => commits };
}

function nodeNumber(number: number): Node {
  return aNode({
    id: newId(systemRandom),
    index: number,
    spec: { name: `node-${number}`, labels: { zone: `z${number % 10}` } },
    description: {
      hostname: `node-${number}.example`,
      resources: { nanoCpus: 64e9, memoryBytes: 256 * 1024 ** 3 },
      hostSubnets: ['192.168.0.0/24', '172.17.0.0/16'],
    },
    status: { addr: `10.0.${number >> 8}.${number & 255}` },
  });
}

/** A service as a compose file of some length makes it: its tasks carry about 700 bytes each. */
function serviceOf(name: string, replicas: number, onNetwork: boolean): Service {
  return aService({
    id: newId(systemRandom),
    spec: {
      name,
      labels: { 'com.docker.stack.namespace': 'bench', team: 'load' },
      mode: { $case: 'replicated', value: { replicas } },
      taskTemplate: {
        containerSpec: {
          image: `registry.example/team/app@sha256:${randomBytes(32).toString('hex')}`,
          args: ['serve', '--listen', '0.0.0.0:8080', '--workers', '4'],
          env: Array.from({ length: 8 }, (_, i) => `SETTING_${i}=value-of-setting-${i}`),
          labels: { 'com.docker.stack.namespace': 'bench' },
          mounts: [{ source: 'data', target: '/var/lib/app' }],
        },
        resources: { reservations: { nanoCpus: 1e7, memoryBytes: 16 * MiB } },
        networks: onNetwork ? [{ target: NETWORK.id, aliases: [name] }] : [],
      },
    },
  });
}

class Manager {
  readonly view = new View();
  readonly #store: Store;
  readonly #commits: () => number;

  constructor({ store, commits }: ReturnType<typeof counted>) {
    this.#store = store;
    this.#commits = commits;
  }

  async put<K extends Kind>(kind: K, objects: readonly ObjectOfKind[K][]): Promise<void> {
    const changes = objects.map((object) => ({ action: 'create', kind, object }) as Change);
    const { revision } = await applyPlan(
      this.#store,
      { groups: chunkChanges(changes) },
      { clock: systemClock },
    );
    await this.view.waitFor(revision);
  }

  /** Seconds and commits until all tasks of these services are placed. */
  async deploy(services: readonly Service[]): Promise<{ seconds: number; commits: number }> {
    const wanted = services.reduce((sum, s) => sum + replicasOf(s), this.#placed());
    const before = this.#commits();
    const start = performance.now();
    await this.put('service', services);
    const allPlaced = new Promise<void>((resolve) => {
      let placed = this.#placed();
      const unwatch = this.view.onChange((changes) => {
        for (const { kind, object, previous } of changes) {
          if (kind !== 'task' || object.status.state !== TaskState.ASSIGNED) continue;
          if (previous?.status.state !== TaskState.ASSIGNED) placed++;
        }
        if (placed < wanted) return;
        unwatch();
        resolve();
      });
    });
    await allPlaced;
    const seconds = (performance.now() - start) / 1000;
    return { seconds, commits: this.#commits() - before };
  }

  tasks(): number {
    return [...this.view.tasks()].length;
  }

  #placed(): number {
    return [...this.view.tasks()].filter((t) => t.status.state === TaskState.ASSIGNED).length;
  }
}

function replicasOf({ spec: { mode } }: Service): number {
  return mode.$case === 'replicated' ? mode.value.replicas : 0;
}

async function row(
  manager: Manager,
  what: string,
  services: readonly Service[],
): Promise<BenchRow> {
  const count = services.reduce((sum, s) => sum + replicasOf(s), 0);
  const before = process.cpuUsage();
  const { seconds, commits } = await manager.deploy(services);
  const { user, system } = process.cpuUsage(before);
  const perCpuSecond = Math.round((count / (user + system)) * 1e6);
  const each = (count / commits).toFixed(1);
  return {
    what: `${what}: ${count} tasks`,
    ours:
      `${Math.round(count / seconds)} tasks/s (${perCpuSecond} per second of one processor; ` +
      `${commits} commits, ${each} tasks each)`,
    ...{ peer: '', ratio: '', budget: '>= 5000 tasks/s' },
  };
}

/** A key that is written once and never expires, in place of an election. */
async function campaign(store: Store): Promise<Guard> {
  const puts = [{ key: LEADER_KEY, value: Buffer.from('bench') }];
  const createRevision = await store.commit({ guards: [], puts, deletes: [] });
  return { key: LEADER_KEY, createRevision };
}

const etcd = await startTestEtcd();
try {
  const counting = counted(etcd.openStore());
  const manager = new Manager(counting);
  const { view } = manager;
  const { store } = counting;
  const reflector = new Reflector({ ...modules, store, view });
  await reflector.start();
  const file = new EventFile(join(etcd.folder, 'events.jsonl'));
  const recorder = await EventRecorder.start({ ...modules, view, file });
  const ipam = [{ subnet: NETWORK.subnet, gateway: '10.128.0.1', ipRange: '' }];
  await manager.put('cluster', [aCluster()]);
  await manager.put('network', [
    { ...aNetwork({ spec: { name: 'app' } }), id: NETWORK.id, ipam, vni: 4096 },
  ]);
  await manager.put(
    'node',
    Array.from({ length: NODES }, (_, i) => nodeNumber(i + 1)),
  );
  const end = new AbortController();
  const fence = await campaign(store);
  const running = leadTerm({ fence, signal: end.signal }, { ...modules, store, view });
  const many = Array.from({ length: 20 }, (_, i) => serviceOf(`s${i}`, TASKS / 20, true));
  const rows = [
    await row(manager, 'warm-up', [serviceOf('first', 1000, true)]),
    await row(manager, 'one service on an overlay network', [serviceOf('large', TASKS, true)]),
    await row(manager, '20 services on an overlay network', many),
    await row(manager, 'one service without networks', [
      serviceOf('last', Math.max(100, TASKS_AT_THE_END - manager.tasks()), false),
    ]),
  ];
  const burst = process.memoryUsage().rss;
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const { rss } = process.memoryUsage();
  printRows([
    ...rows.slice(1),
    {
      what: `memory with ${manager.tasks()} tasks on ${NODES} nodes`,
      ours: `${Math.round(rss / MiB)} MiB resident (right after the burst ${Math.round(burst / MiB)})`,
      ...{ peer: '', ratio: '', budget: '<= 400 MB' },
    },
  ]);
  end.abort();
  await running.catch(() => undefined);
  await recorder[Symbol.asyncDispose]();
  await reflector[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
} finally {
  await etcd[Symbol.asyncDispose]();
}
