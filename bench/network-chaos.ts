/**
 * Hosts of a dev cluster are killed, cut off, stopped and brought back in random order for a while,
 * services changing between; after each step every host that can be told something must show within
 * 10 s, entry by entry, what the store says: links, addresses, FDB, neighbours, nftables, names.
 * Needs root and a machine without another dev cluster.
 *   npx tsx bench/network-chaos.ts [SECONDS] [SEED]
 */
import { loadAnswerImages } from '../test/e2e/answers.js';
import { Chaos } from '../test/e2e/chaos.js';
import { DevCluster } from '../test/e2e/cluster.js';
import { printRows } from './support/figures.js';

const SECONDS = Number(process.argv[2] ?? 600);
const SEED = Number(process.argv[3] ?? Math.floor(Math.random() * 1e6));
const WITHIN_MS = 10_000;

const startedAt = performance.now();
const seconds = (): number => (performance.now() - startedAt) / 1000;
const log = (line: string): void => console.log(`${seconds().toFixed(1).padStart(6)} s  ${line}`);

const cluster = await DevCluster.up();
const chaos = new Chaos(cluster, { seed: SEED, withinMs: WITHIN_MS, log });
try {
  log(`seed ${SEED}`);
  await loadAnswerImages(cluster);
  await chaos.begin();
  while (seconds() < SECONDS) await chaos.step();
  await chaos.end();
  printRows([
    {
      what: `${chaos.steps} steps of chaos, seed ${SEED}: all hosts as the store says`,
      ours: `slowest after ${(chaos.slowestMs / 1000).toFixed(1)} s`,
      peer: '',
      ratio: '',
      budget: '<= 10 s',
    },
  ]);
} finally {
  await cluster.down();
}
