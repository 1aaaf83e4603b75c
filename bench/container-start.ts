/**
 * One container from create to running, layers and network included: Hatoba's engine and Docker in
 * one run. Ours makes a network namespace, a veth pair with an address, and the container; Docker
 * runs `docker run -d` on its default bridge. Needs root, `deploy/setup`, and for the peer
 * `apt-get install docker.io iptables`.
 *   npx tsx bench/container-start.ts [SEQUENTIAL] [PARALLEL]
 * With 100 and more sequential starts the 99th percentile means something.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { silentLogger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import type { Kernel } from '../linux/ports.js';
import { ContainerSpec, Limit } from '../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig, Containers, Engine } from '../runtime/engine.js';
import { openEngine } from '../runtime/open-engine.js';
import { busyboxImage, dockerArchive, makeImage, makeTar } from '../test/support/image-fixtures.js';
import { DockerDaemon } from './support/docker-daemon.js';
import { median, percentile, printRows } from './support/figures.js';
import { memoryOf } from './support/process-memory.js';

const SEQUENTIAL = Number(process.argv[2] ?? 100);
const PARALLEL = Number(process.argv[3] ?? 100);
const CONCURRENCY = 8;
const TURN = 5;
const IMAGE = 'bench-box:1';
const LAYERS = 8;
const COMMAND = ['sleep', '1000'];

interface Figures {
  /** Milliseconds of each, one after the other. */
  startMs: number[];
  /** Milliseconds per container, eight at a time. */
  parallelMs: number;
  removeMs: number[];
  /** Of the process that watches over one idle container. */
  monitorBytes: number;
}

interface Peer {
  start: (id: string) => Promise<void>;
  remove: (id: string) => Promise<void>;
  /** Memory of all processes that watch over containers, the engine's own aside. */
  monitorBytes: () => number;
}

async function ms(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * The peers take turns, so that what else the machine does falls on both; several containers a
 * turn, since Docker works on for a while after it has answered.
 */
async function measure(peers: readonly Peer[]): Promise<Figures[]> {
  const figures = peers.map((): Figures => ({
    startMs: [],
    removeMs: [],
    parallelMs: 0,
    monitorBytes: 0,
  }));
  const each = async (work: (peer: Peer, figures: Figures) => Promise<void>): Promise<void> => {
    for (const [i, peer] of peers.entries()) {
      const own = figures[i];
      if (own !== undefined) await work(peer, own);
    }
  };
  // The first ones fill caches: seccomp program, page cache, just-in-time compiler.
  for (const id of ['w0', 'w1', 'w2']) {
    await each((peer) => peer.start(id).then(() => peer.remove(id)));
  }
  for (let from = 0; from < SEQUENTIAL; from += TURN) {
    const ids = Array.from({ length: TURN }, (_, i) => `s${from + i}`);
    await each(async ({ start, remove }, own) => {
      for (const id of ids) own.startMs.push(await ms(() => start(id)));
      for (const id of ids) own.removeMs.push(await ms(() => remove(id)));
    });
  }
  await each(async (peer, own) => {
    Object.assign(own, await measureParallel(peer));
  });
  return figures;
}

async function measureParallel(peer: Peer): Promise<Pick<Figures, 'parallelMs' | 'monitorBytes'>> {
  const { start, remove } = peer;
  const all = Array.from({ length: PARALLEL }, (_, i) => `p${i}`);
  const todo = [...all];
  const worker = async (): Promise<void> => {
    for (let id = todo.pop(); id !== undefined; id = todo.pop()) await start(id);
  };
  const total = await ms(() => Promise.all(Array.from({ length: CONCURRENCY }, worker)));
  const monitorBytes = peer.monitorBytes() / PARALLEL;
  for (const id of all) await remove(id);
  return { parallelMs: total / PARALLEL, monitorBytes };
}

async function buildArchive(): Promise<Buffer> {
  const image = await busyboxImage({ tag: IMAGE });
  const extra = await Promise.all(
    Array.from({ length: LAYERS }, (_, i) =>
      makeTar([{ name: `layer${i}`, content: 'x'.repeat(100_000) }]),
    ),
  );
  const layers = [...image.layers.map((layer) => layer.bytes), ...extra];
  return dockerArchive(await makeImage({ tags: [IMAGE], layers, config: { Cmd: COMMAND } }));
}

function configOf(id: string, netns: string): ContainerConfig {
  return {
    id,
    name: id,
    spec: ContainerSpec.fromPartial({ image: IMAGE, args: COMMAND }),
    limits: Limit.fromPartial({ nanoCpus: 500_000_000, memoryBytes: 64 << 20, pids: 100 }),
    netns,
    cgroupGroup: 'bench',
    dns: { nameservers: ['127.0.0.1'], search: [], options: [] },
    hosts: [],
    log: { maxSizeBytes: 10 << 20, maxFiles: 3 },
    labels: {},
  };
}

function oursOn(kernel: Kernel, containers: Containers, root: string): Peer {
  let count = 0;
  const netnsOf = (id: string): string => `${root}/run/netns/${id}`;
  return {
    async start(id) {
      const n = count++;
      const netns = netnsOf(id);
      await kernel.namespaces.createNetns(netns);
      await kernel.netlink.apply([
        { op: 'link-add', kind: 'veth', name: `htb${n}`, peer: { name: 'eth0', netns } },
        { op: 'link-set', name: `htb${n}`, up: true },
      ]);
      await kernel.netlink.apply(
        [
          { op: 'address-add', link: 'eth0', cidr: `10.211.${n >> 8}.${n & 255}/16` },
          { op: 'link-set', name: 'eth0', up: true },
        ],
        netns,
      );
      await containers.create(configOf(id, netns));
      await containers.start(id);
    },
    async remove(id) {
      await containers.remove(id, { force: true });
      await kernel.namespaces.dropNetns(netnsOf(id));
    },
    monitorBytes: () => memoryOf('conmon', root),
  };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

/** Runs `use` with an engine of its own, on which the image is loaded. */
async function withOurs<T>(archive: Buffer, use: (peer: Peer) => Promise<T>): Promise<T> {
  const root = await mkdtemp('/var/tmp/ht-bench-');
  const kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  let engine: Engine | undefined;
  try {
    const runDir = join(root, 'run');
    engine = await openEngine(
      {
        stateDir: join(root, 'state'),
        runDir,
        cgroupParent: `/hatoba-bench-${process.pid}`,
        insecureRegistries: [],
      },
      { kernel, clock: systemClock, random: systemRandom, logger: silentLogger },
    );
    await engine.images.load(once(archive));
    const ours = oursOn(kernel, engine.containers, root);
    try {
      return await use(ours);
    } finally {
      for (const { config } of engine.containers.list()) await ours.remove(config.id);
    }
  } finally {
    await engine?.[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  }
}

/** Runs `use` with a Docker daemon of its own; without one where it is not installed. */
async function withDocker<T>(
  archive: Buffer,
  use: (peer: Peer | undefined) => Promise<T>,
): Promise<T> {
  const docker = await DockerDaemon.start();
  if (docker === undefined) return use(undefined);
  const folder = await mkdtemp(join(tmpdir(), 'ht-bench-'));
  try {
    const file = join(folder, 'image.tar');
    await writeFile(file, archive);
    await docker.docker('load', '--input', file);
    return await use({
      start: async (id) => {
        const limits = ['--cpus', '0.5', '--memory', '64m', '--pids-limit', '100'];
        await docker.docker('run', '--detach', '--name', id, ...limits, IMAGE);
      },
      remove: async (id) => {
        await docker.docker('rm', '--force', id);
      },
      monitorBytes: () => memoryOf('containerd-shim', docker.folder),
    });
  } finally {
    await docker.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function row(
  what: string,
  ours: number,
  peer: number | undefined,
  budget: string,
  unit = 'ms',
): void {
  rows.push({
    what,
    ours: `${ours.toFixed(1)} ${unit}`,
    peer: peer === undefined ? 'not installed' : `${peer.toFixed(1)} ${unit}`,
    ratio: peer === undefined ? '-' : `${(peer / ours).toFixed(1)}x`,
    budget,
  });
}

const rows: Parameters<typeof printRows>[0][number][] = [];
const archive = await buildArchive();
const [ours, docker] = await withDocker(archive, (peer) =>
  withOurs(archive, (own) => measure(peer === undefined ? [own] : [own, peer])),
);
if (ours === undefined) throw new Error('nothing was measured');
const pick = (of: (f: Figures) => number): [number, number | undefined] => [
  of(ours),
  docker === undefined ? undefined : of(docker),
];
row('create -> running, median', ...pick((f) => median(f.startMs)), '<= 40 ms, >= 8x');
row('create -> running, fastest', ...pick((f) => percentile(f.startMs, 0)), '-');
row('create -> running, 90 %', ...pick((f) => percentile(f.startMs, 90)), '-');
row('create -> running, 99 %', ...pick((f) => percentile(f.startMs, 99)), '-');
row(`${PARALLEL}, ${CONCURRENCY} at a time, each`, ...pick((f) => f.parallelMs), '-');
const megabytes = pick((f) => f.monitorBytes / 2 ** 20);
row('memory beside an idle one', ...megabytes, '<= 2.5 MiB', 'MiB');
row('remove a running one, median', ...pick((f) => median(f.removeMs)), '-');
printRows(rows);
