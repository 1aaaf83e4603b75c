/**
 * 100 replicas on one host, from `scale` to running: Hatoba (a dev cluster of one host, overlay
 * network, DNS and load balancing included) and Docker Swarm, one after the other in one run.
 * Needs root, `deploy/setup`, and for the peer `apt-get install docker.io iptables`.
 *   npx tsx bench/scale-up.ts [REPLICAS] [ROUNDS] [ours]
 * With `ours` the peer is left out.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DockerDaemon } from './support/docker-daemon.js';
import { median, printRows } from './support/figures.js';

const REPLICAS = Number(process.argv[2] ?? 100);
const ROUNDS = Number(process.argv[3] ?? 3);
const WITH_PEER = process.argv[4] !== 'ours';
const CLI = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const MAKE = fileURLToPath(new URL('../deploy/examples/images/make', import.meta.url));
const IMAGE = 'hello-api:1';

function run(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${file} ${args.join(' ')}: ${stderr}`));
    });
  });
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Seconds of each round up and down, the images loaded and one replica running before. */
async function measureHatoba(folder: string): Promise<{ times: number[]; downTimes: number[] }> {
  const env = { ...process.env, HATOBA_CONFIG: folder };
  const hatoba = (...args: string[]): Promise<string> => run(process.execPath, [CLI, ...args], env);
  const times: number[] = [];
  const downTimes: number[] = [];
  await hatoba('dev', 'down');
  try {
    await hatoba('dev', 'up', '--nodes', '1');
    await hatoba('image', 'load', join(folder, 'hello-api-1.tar'));
    const file = join(folder, 'compose.yaml');
    await run('/bin/sh', ['-c', `echo 'services: {api: {image: "${IMAGE}"}}' > ${file}`]);
    await hatoba('deploy', '-f', file, 'bench');
    for (let round = 0; round < ROUNDS; round++) {
      times.push(await seconds(() => hatoba('service', 'scale', `bench_api=${REPLICAS + 1}`)));
      downTimes.push(await seconds(() => hatoba('service', 'scale', 'bench_api=1')));
    }
  } finally {
    await hatoba('dev', 'down');
  }
  return { times, downTimes };
}

async function measureSwarm(folder: string): Promise<number[] | undefined> {
  const daemon = await DockerDaemon.start();
  if (daemon === undefined) return undefined;
  const times: number[] = [];
  try {
    await daemon.docker('load', '--input', join(folder, 'hello-api-1.tar'));
    await daemon.docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
    const options = [
      '--name',
      'api',
      '--no-resolve-image',
      '--detach',
      '--restart-condition',
      'none',
    ];
    await daemon.docker('service', 'create', ...options, IMAGE);
    await untilRunning(daemon, 1);
    for (let round = 0; round < Math.min(ROUNDS, 1); round++) {
      times.push(
        await seconds(async () => {
          await daemon.docker('service', 'scale', '--detach', `api=${REPLICAS + 1}`);
          await untilRunning(daemon, REPLICAS + 1);
        }),
      );
    }
    await daemon.docker('service', 'rm', 'api');
    await daemon.docker('swarm', 'leave', '--force');
  } finally {
    await daemon.stop();
  }
  return times;
}

async function untilRunning(daemon: DockerDaemon, count: number): Promise<void> {
  for (;;) {
    const states = await daemon.docker('service', 'ps', '--format', '{{.CurrentState}}', 'api');
    if (states.split('\n').filter((s) => s.startsWith('Running')).length >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const folder = await mkdtemp(join(tmpdir(), 'ht-bench-'));
try {
  await run(MAKE, [folder]);
  const { times, downTimes } = await measureHatoba(folder);
  const ours = median(times);
  const peerTimes = WITH_PEER ? await measureSwarm(folder) : undefined;
  const peer = peerTimes === undefined ? undefined : median(peerTimes);
  const rate = (time: number): string => `${(REPLICAS / time).toFixed(1)}/s (${time.toFixed(1)} s)`;
  printRows([
    {
      what: `${REPLICAS} replicas on one host, scale to running`,
      ours: rate(ours),
      peer: peer === undefined ? 'Swarm not measured' : `Swarm ${rate(peer)}`,
      ratio: peer === undefined ? '' : `${(peer / ours).toFixed(1)}x`,
      budget: '>= 35/s',
    },
    {
      what: `and back to one replica, until all are gone`,
      ours: rate(median(downTimes)),
      peer: '',
      ratio: '',
      budget: '',
    },
  ]);
  const list = (all: readonly number[]): string => all.map((t) => t.toFixed(2)).join(' ');
  console.log(`rounds up: ${list(times)} s; down: ${list(downTimes)} s`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
