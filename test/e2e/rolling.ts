import assert from 'node:assert/strict';
import { unary } from '../../proto/wire/client.js';
import type { NodeAvailability } from '../../proto/gen/hatoba/v1/types.js';
import { openControl } from '../support/network-checker/cluster-objects.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import type { LoadFailure, LoadReport } from '../support/load-report.js';
import { deployAnswers, type AnswerService } from './answers.js';
import type { DevCluster, HostName } from './cluster.js';
import { NetworkLoad } from './network-load.js';

const STACK = 'roll';
const CLIENT: AnswerService = {
  name: 'client',
  replicas: 1,
  constraints: ['node.hostname==n1'],
};

const ENDED: ReadonlySet<string> = new Set(['shutdown', 'complete', 'failed', 'rejected']);

/**
 * Two services of three replicas, one updated by starting first and one by stopping first, and a
 * client on n1 that asks both by name.
 */
export class RollingStack {
  readonly first = `${STACK}_first`;
  readonly last = `${STACK}_last`;
  readonly #cluster: DevCluster;
  #version = 1;

  constructor(cluster: DevCluster) {
    this.#cluster = cluster;
  }

  async deploy(constraints: readonly string[] = [], replicas = 3): Promise<void> {
    const image = `answer:${this.#version}`;
    const common = { image, constraints, replicas };
    await deployAnswers(this.#cluster, STACK, [
      { name: 'first', publishedPort: 8070, order: 'start-first', ...common },
      { name: 'last', publishedPort: 8071, order: 'stop-first', ...common },
      CLIENT,
    ]);
  }

  /** Both services to the other image, one task after the other. */
  async update(): Promise<void> {
    this.#version = 3 - this.#version;
    await this.deploy();
  }

  /** Clients of all kinds ask both services while `work` goes on. */
  async underLoad(work: () => Promise<void>, keepMs?: number): Promise<LoadReport> {
    await untilNetworksShown(); // what is new is not on every host at once
    await using load = await NetworkLoad.start(this.#cluster, {
      published: [8070, 8071],
      inside: ['first:80', 'last:80'],
      direct: ['tasks.first:80', 'tasks.last:80'],
      clients: `${STACK}_client`,
      ...(keepMs === undefined ? {} : { keepMs }),
    });
    await work();
    return await load.stop();
  }

  /** The host has none of the tasks any more, and all replicas run elsewhere. */
  async assertNothingOn(host: HostName): Promise<void> {
    for (const service of [this.first, this.last]) {
      const tasks = await this.#cluster.tasks(service);
      const alive = tasks.filter(({ state }) => !ENDED.has(state));
      const there = alive.filter((t) => t.node === host).map((t) => t.name);
      assert.deepEqual(there, [], host);
      assert.equal(alive.filter((t) => t.state === 'running').length, 3);
    }
  }
}

/**
 * Requests that were lost; and apart from them datagrams, of which one that is on its way at the very
 * moment in which its flow is led away from a task has no way back.
 */
export function lostOf({ failures }: LoadReport): { lost: LoadFailure[]; cut: LoadFailure[] } {
  const isCut = ({ kind }: LoadFailure): boolean => kind === 'datagram' || kind === 'socket';
  return { lost: failures.filter((f) => !isCut(f)), cut: failures.filter(isCut) };
}

/** As "hatoba node update --availability" does. */
export async function setAvailability(
  host: HostName,
  availability: NodeAvailability,
): Promise<void> {
  const control = openControl();
  try {
    const { id, spec } = await unary(control.getNode.bind(control), { node: host });
    if (spec === undefined) throw new Error(`node ${host} has no spec`);
    const version = 0; // any: the managers write what they hear of the host at any time
    const request = { node: id, version, spec: { ...spec, availability } };
    await unary(control.updateNode.bind(control), request);
  } finally {
    control.close();
  }
}
