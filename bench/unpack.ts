/**
 * Images from a registry on loopback: how long a pull takes with all that belongs to it, beside
 * Docker's in the same run and on the same disk; how fast a layer is unpacked; and how long the
 * engine's event loop, in this process as in an agent, is kept from other work meanwhile. Needs root,
 * `deploy/setup --tests`, and for the peer `apt-get install docker.io iptables`.
 *   npx tsx bench/unpack.ts [IMAGE_MEGABYTES] [ROUNDS] [LAG_MEGABYTES]
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { silentLogger } from '../common/logger.js';
import { openKernel } from '../linux/kernel.js';
import { Unpacker } from '../runtime/content/unpacker.js';
import type { Engine } from '../runtime/engine.js';
import { openEngine } from '../runtime/open-engine.js';
import { distribute, type BuiltImage } from '../test/support/image-fixtures.js';
import { TestRegistry } from '../test/support/registry.js';
import { DockerDaemon } from './support/docker-daemon.js';
import { median, printRows, type BenchRow } from './support/figures.js';
import { FreshDisk } from './support/fresh-disk.js';
import { makeRealImage } from './support/real-image.js';

const MEGABYTE = 1024 * 1024;
const IMAGE_MEGABYTES = Number(process.argv[2] ?? 500);
const ROUNDS = Number(process.argv[3] ?? 3);
const LAG_MEGABYTES = Number(process.argv[4] ?? 1024);
const LAG_STEP_MS = 2;
/** Quick to make, and no quicker to read than others. */
const PACKING = { docker: true, level: 1 };

async function seconds(work: () => Promise<unknown>): Promise<number> {
  execFileSync('/usr/bin/sync'); // what was written before is not to be waited for
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

interface Lag {
  p50: number;
  p99: number;
  max: number;
}

/** How late timers are while `work` goes on, in milliseconds. */
async function lagDuring(work: () => Promise<unknown>): Promise<Lag> {
  const delay = monitorEventLoopDelay({ resolution: LAG_STEP_MS });
  delay.enable();
  await work();
  delay.disable();
  const lateMs = (nanos: number): number => Math.max(0, nanos / 1e6 - LAG_STEP_MS);
  return {
    p50: lateMs(delay.percentile(50)),
    p99: lateMs(delay.percentile(99)),
    max: lateMs(delay.max),
  };
}

/** Turns, so that what else the machine does falls on both. */
async function comparePulls(
  engine: Engine,
  docker: DockerDaemon | undefined,
  reference: string,
): Promise<{ ours: number; peer: number | undefined }> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await seconds(() => engine.images.pull(reference)));
    await engine.images.remove(reference, { force: true });
    if (docker === undefined) continue;
    theirs.push(await seconds(() => docker.docker('pull', '--quiet', reference)));
    await docker.docker('rmi', '--force', reference);
  }
  return { ours: median(ours), peer: theirs.length > 0 ? median(theirs) : undefined };
}

interface Speed {
  ours: number;
  /** GNU tar's, which verifies nothing. */
  tar: number;
}

/** Megabytes of uncompressed tar per second, layer after layer, in turns with GNU tar. */
async function unpackSpeed(image: BuiltImage, dir: string, gzip: boolean): Promise<Speed> {
  await using unpacker = new Unpacker({ clock: systemClock });
  const unpack = (name: string, bytes: Uint8Array): Promise<number> => {
    const [blobPath, targetDir] = [join(dir, name), join(dir, `${name}-out`)];
    writeFileSync(blobPath, bytes);
    mkdirSync(targetDir);
    const limits = { maxEntries: 1e6, maxBytes: 2 ** 40, maxImpliedBytes: 1e6 };
    return seconds(() => unpacker.unpack({ blobPath, targetDir, limits }));
  };
  await unpack('empty', Buffer.alloc(1024)); // starts the thread
  const untar = (name: string): Promise<number> => {
    const target = join(dir, `${name}-tar`);
    mkdirSync(target);
    return seconds(() => promisify(execFile)('tar', ['-C', target, '-xpf', join(dir, name)]));
  };
  const [ours, theirs]: [number[], number[]] = [[], []];
  const { blobs } = distribute(image, { ...PACKING, gzip });
  for (const [i, blob] of blobs.slice(1).entries()) {
    ours.push(await unpack(`blob${i}`, blob.bytes));
    theirs.push(await untar(`blob${i}`));
  }
  rmSync(dir, { recursive: true });
  const megabytes = image.layers.reduce((sum, l) => sum + l.bytes.length, 0) / MEGABYTE;
  const speed = (times: readonly number[]): number =>
    megabytes / times.reduce((sum, time) => sum + time, 0);
  return { ours: speed(ours), tar: speed(theirs) };
}

async function main(): Promise<void> {
  using disk = new FreshDisk(16 * 1024 * MEGABYTE);
  process.env['TMPDIR'] = disk.path; // where Docker and the registry keep their files
  const folder = (name: string): string => {
    const path = join(disk.path, name);
    mkdirSync(path);
    return path;
  };
  const image = await makeRealImage(IMAGE_MEGABYTES * MEGABYTE, 'real:1', folder('lists'));
  const registry = await TestRegistry.start();
  await registry.push(image, 'bench/real', '1', PACKING);
  await using kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  const options = {
    stateDir: join(disk.path, 'state'),
    runDir: join(disk.path, 'run'),
    cgroupParent: `/hatoba-bench-${process.pid}`,
    insecureRegistries: [],
  };
  const modules = { kernel, clock: systemClock, random: systemRandom, logger: silentLogger };
  const engine = await openEngine(options, modules);
  const docker = await DockerDaemon.start();
  try {
    const pulls = await comparePulls(engine, docker, `${registry.host}/bench/real:1`);
    const gzipSpeed = await unpackSpeed(image, folder('gzip'), true);
    const plainSpeed = await unpackSpeed(image, folder('plain'), false);
    const large = await makeRealImage(LAG_MEGABYTES * MEGABYTE, 'large:1', disk.path);
    await registry.push(large, 'bench/large', '1', PACKING);
    const idle = await lagDuring(() => new Promise((resolve) => setTimeout(resolve, 3000)));
    const lag = await lagDuring(() => engine.images.pull(`${registry.host}/bench/large:1`));
    printRows(toRows(pulls, { gzipSpeed, plainSpeed, idle, lag }));
  } finally {
    await docker?.stop();
    await engine[Symbol.asyncDispose]();
    await registry.stop();
  }
}

function toRows(
  pulls: { ours: number; peer: number | undefined },
  figures: { gzipSpeed: Speed; plainSpeed: Speed; idle: Lag; lag: Lag },
): BenchRow[] {
  const { ours, peer } = pulls;
  const speed = (what: string, { ours, tar }: Speed, budget: string): BenchRow => {
    const peer = `${tar.toFixed(0)} MB/s (tar)`;
    return {
      what,
      ours: `${ours.toFixed(0)} MB/s`,
      peer,
      ratio: `${(ours / tar).toFixed(2)} x`,
      budget,
    };
  };
  const late = (lag: Lag): string =>
    [lag.p50, lag.p99, lag.max].map((ms) => `${ms.toFixed(1)} ms`).join(' / ');
  const own = (what: string, value: string, budget: string): BenchRow => {
    return { what, ours: value, peer: '–', ratio: '–', budget };
  };
  return [
    {
      what: `pull and unpack ${IMAGE_MEGABYTES} MB, median of ${ROUNDS}`,
      ours: `${ours.toFixed(2)} s`,
      peer: peer === undefined ? 'not installed' : `${peer.toFixed(2)} s (docker pull)`,
      ratio: peer === undefined ? '–' : `${(peer / ours).toFixed(2)} x`,
      budget: '–',
    },
    speed('unpack, gzip', figures.gzipSpeed, '≥ 150 MB/s'),
    speed('unpack, not compressed', figures.plainSpeed, '–'),
    own('event loop late when idle, p50 / p99 / max', late(figures.idle), '–'),
    own(`… pulling ${LAG_MEGABYTES} MB`, late(figures.lag), 'p99 ≤ 50 ms'),
  ];
}

await main();
