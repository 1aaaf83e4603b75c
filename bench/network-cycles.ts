/**
 * Networks and services are created and removed, again and again: each time a network, a virtual
 * address, a published port and two tasks on a dev cluster of three hosts. Afterwards the store and
 * the kernel of every host must be exactly as before.
 * Needs root and a machine without another dev cluster.
 *   npx tsx bench/network-cycles.ts [CYCLES] [AT A TIME]
 */
import { loadAnswerImages } from '../test/e2e/answers.js';
import { DevCluster } from '../test/e2e/cluster.js';
import { Cycles } from '../test/e2e/cycles.js';

const CYCLES = Number(process.argv[2] ?? 1000);
const WIDTH = Number(process.argv[3] ?? 5);
const ROUND = 50;

const cluster = await DevCluster.up();
try {
  await loadAnswerImages(cluster);
  const cycles = await Cycles.begin(cluster);
  const startedAt = performance.now();
  for (let done = 0; done < CYCLES; done += ROUND) {
    const count = Math.min(ROUND, CYCLES - done);
    await cycles.run(count, WIDTH);
    await cycles.assertNothingLeft();
    const seconds = (performance.now() - startedAt) / 1000;
    console.log(`${done + count} cycles in ${seconds.toFixed(0)} s: nothing is left`);
  }
} finally {
  await cluster.down();
}
