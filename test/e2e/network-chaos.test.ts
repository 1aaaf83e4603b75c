import { loadAnswerImages } from './answers.js';
import { Chaos } from './chaos.js';
import { DevCluster, requiresDevCluster } from './cluster.js';

const STEPS = 10;
const SEED = 7;
/** Whether the kernels ever get there; how quickly they do is for the benchmark. */
const WITHIN_MS = 60_000;

describe('networks while hosts are killed, cut off and come back', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await loadAnswerImages(cluster);
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  it('every host shows what the store says after each step', async () => {
    const lines: string[] = [];
    const log = (line: string): void => void lines.push(line);
    const chaos = new Chaos(cluster, { seed: SEED, withinMs: WITHIN_MS, log });
    try {
      await chaos.begin();
      while (chaos.steps < STEPS) await chaos.step();
      await chaos.end();
    } catch (error) {
      throw new Error(`${lines.join('\n')}\n${String(error)}`, { cause: error });
    }
  });
});
