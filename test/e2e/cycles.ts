import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import { deployAnswers } from './answers.js';
import { ADDRESS, type DevCluster } from './cluster.js';
import { networkTraces, type Traces } from './network-traces.js';

const HOSTS = Object.keys(ADDRESS);
const FIRST_PORT = 8100;
const REPLICAS = 2;

/**
 * Networks and services that come and go, several at a time: a stack each, with a network, a virtual
 * address, a published port and two tasks.
 */
export class Cycles {
  readonly #cluster: DevCluster;
  readonly #before: Traces;
  #started = 0;

  private constructor(cluster: DevCluster, before: Traces) {
    this.#cluster = cluster;
    this.#before = before;
  }

  /** Remembers what is there now, after a first cycle that makes what is made once. */
  static async begin(cluster: DevCluster): Promise<Cycles> {
    await cycle(cluster, 0);
    const before = await eventually(async () => {
      await untilNetworksShown(); // the hosts learn a little later what has gone
      const traces = await networkTraces(HOSTS);
      const sandboxes = Object.values(traces.hosts).flatMap(({ namespaces }) => namespaces);
      assert.deepEqual([traces.services, traces.tasks, sandboxes], [[], [], []]);
      assert.deepEqual(await networkTraces(HOSTS), traces);
      return traces;
    });
    return new Cycles(cluster, before);
  }

  /** @param width stacks at a time */
  async run(count: number, width: number): Promise<void> {
    const last = this.#started + count;
    const worker = async (lane: number): Promise<void> => {
      while (this.#started < last) {
        this.#started++;
        await cycle(this.#cluster, lane);
      }
    };
    await Promise.all(Array.from({ length: width }, (_, lane) => worker(lane)));
  }

  /** Everything is as it was before, in the store and on every host. */
  async assertNothingLeft(): Promise<void> {
    await eventually(async () => assert.deepEqual(await networkTraces(HOSTS), this.#before));
    await untilNetworksShown();
  }
}

async function cycle(cluster: DevCluster, lane: number): Promise<void> {
  const stack = `cycle${lane}`;
  const app = { name: 'app', publishedPort: FIRST_PORT + lane, replicas: REPLICAS };
  await deployAnswers(cluster, stack, [app]);
  await cluster.hatoba('stack', 'rm', stack);
}
