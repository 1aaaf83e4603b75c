/**
 * What the kernel seam costs, beside the same by spawned commands in the same run: one process, a
 * container's network (namespace, veth on a bridge, address, default route), an overlay of ten
 * layers, and one change in a map of 1,000 elements. Needs root; works in namespaces of its own.
 *   npx tsx bench/linux.ts [ROUNDS]
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { openKernel } from '../linux/kernel.js';
import type { Kernel } from '../linux/ports.js';
import { median, printRows, type BenchRow } from './support/figures.js';

const ROUNDS = Number(process.argv[2] ?? 25);
const LAYERS = 10;
const ELEMENTS = 1000;

/** Two ways to do one thing; both are undone after each round, unmeasured. */
interface Contest {
  what: string;
  budget: string;
  ours: (round: number) => Promise<unknown>;
  peer: (round: number) => unknown;
  undo: (round: number) => Promise<unknown>;
}

async function milliseconds(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Rounds of both in turn, so that a busy minute hits both. */
async function measure({ what, budget, ours, peer, undo }: Contest): Promise<BenchRow> {
  const [mine, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    mine.push(await milliseconds(() => ours(round)));
    await undo(round);
    theirs.push(await milliseconds(() => peer(round)));
    await undo(round);
  }
  const [a, b] = [median(mine), median(theirs)];
  const ms = (value: number): string => `${value.toFixed(2)} ms`;
  return { what, ours: ms(a), peer: ms(b), ratio: `${(b / a).toFixed(1)}x`, budget };
}

function run(file: string, ...args: readonly string[]): void {
  execFileSync(file, args, { stdio: 'ignore' });
}

function spawnContest(kernel: Kernel): Contest {
  return {
    what: 'spawn /bin/true, to its exit (peer: child_process)',
    budget: '-',
    ours: async () => (await kernel.spawner.spawn({ file: '/bin/true', args: [], env: {} })).exited,
    peer: () =>
      new Promise((resolve) => {
        spawn('/bin/true', { stdio: 'ignore' }).on('exit', resolve);
      }),
    undo: () => Promise.resolve(),
  };
}

/** Ours from outside the host's namespace by its path; the peer by ip(8) in batches, as good as it gets. */
async function networkContest(kernel: Kernel, folder: string): Promise<Contest> {
  const host = `${folder}/host`;
  await kernel.namespaces.createNetns(host);
  await kernel.netlink.apply(
    [
      { op: 'link-add', kind: 'bridge', name: 'br0' },
      { op: 'link-set', name: 'br0', up: true },
    ],
    host,
  );
  const path = (round: number): string => `${folder}/ns${round}`;
  return {
    what: 'netns + veth + address + route (peer: unshare, nsenter and ip)',
    budget: '-',
    ours: async (round) => {
      const peer = { name: 'eth0', netns: path(round) };
      await kernel.namespaces.createNetns(path(round));
      await kernel.netlink.apply(
        [
          { op: 'link-add', kind: 'veth', name: `v${round}`, peer },
          { op: 'link-set', name: `v${round}`, master: 'br0', up: true },
        ],
        host,
      );
      await kernel.netlink.apply(
        [
          { op: 'address-add', link: 'eth0', cidr: '10.80.0.5/24' },
          { op: 'link-set', name: 'eth0', up: true },
          { op: 'route-add', destination: 'default', via: '10.80.0.1' },
        ],
        path(round),
      );
    },
    peer: (round) => {
      const inside = `ip addr add 10.80.0.5/24 dev eth0; ip link set eth0 up; ip link set lo up;
        ip route add default via 10.80.0.1`;
      const outside = `ip link add v${round} type veth peer name eth0 netns /proc/$1/ns/net;
        ip link set v${round} master br0 up`;
      const script = `touch ${path(round)}; unshare --net=${path(round)} true;
        nsenter --net=${path(round)} sleep 100 & nsenter --net=${host} sh -c '${outside}' sh $!;
        nsenter --net=${path(round)} sh -c '${inside}'; kill $!`;
      run('/bin/sh', '-c', script);
    },
    undo: (round) => kernel.namespaces.dropNetns(path(round)),
  };
}

function overlayContest(kernel: Kernel, folder: string): Contest {
  const lowerDirs = Array.from({ length: LAYERS }, (_, i) => `${folder}/layer${i}`);
  const [upperDir, workDir, target] = [`${folder}/up`, `${folder}/work`, `${folder}/merged`];
  for (const dir of [...lowerDirs, upperDir, workDir, target]) mkdirSync(dir);
  const options = `lowerdir=${lowerDirs.join(':')},upperdir=${upperDir},workdir=${workDir}`;
  return {
    what: `overlay of ${LAYERS} layers (peer: mount)`,
    budget: '-',
    ours: () => kernel.mounts.overlay({ lowerDirs, upperDir, workDir, target }),
    peer: () => {
      run('/usr/bin/mount', '-t', 'overlay', 'overlay', '-o', options, target);
    },
    undo: () => kernel.mounts.unmount(target),
  };
}

async function nftContest(kernel: Kernel, folder: string): Promise<Contest> {
  const netns = `${folder}/nft`;
  await kernel.namespaces.createNetns(netns);
  const elements = Array.from(
    { length: ELEMENTS },
    (_, i) => `10.1.${i >> 8}.${i & 255} : 10.2.0.1`,
  );
  await kernel.nftables.run(
    `table ip t { map m { type ipv4_addr : ipv4_addr; elements = { ${elements.join(', ')} }; }; }`,
    netns,
  );
  const add = 'add element ip t m { 10.9.9.9 : 10.2.0.1 }';
  return {
    what: `nft: one more element beside ${ELEMENTS} (peer: nft)`,
    budget: '-',
    ours: () => kernel.nftables.run(add, netns),
    peer: () => {
      run('/usr/bin/nsenter', `--net=${netns}`, '/usr/sbin/nft', add);
    },
    undo: () => kernel.nftables.run('delete element ip t m { 10.9.9.9 : 10.2.0.1 }', netns),
  };
}

const kernel = await openKernel({
  onFailure: (error) => {
    throw error;
  },
});
const folder = mkdtempSync('/tmp/ht-bench-linux-');
try {
  printRows([
    await measure(spawnContest(kernel)),
    await measure(await networkContest(kernel, folder)),
    await measure(overlayContest(kernel, folder)),
    await measure(await nftContest(kernel, folder)),
  ]);
} finally {
  for (const target of (await kernel.mounts.list(folder)).reverse()) {
    await kernel.mounts.unmount(target);
  }
  await kernel[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
}
