import type { Random } from '../../common/random.js';
import { eventually } from '../support/eventually.js';
import { openControl } from '../support/network-checker/cluster-objects.js';
import { checkNetworks } from '../support/network-checker/network-checker.js';
import { seededRandom } from '../support/seeded-random.js';
import { deployAnswers } from './answers.js';
import { ADDRESS, type DevCluster, type HostName } from './cluster.js';

/** How a host is now. */
type Condition = 'up' | 'killed' | 'partitioned' | 'stopped';
/** Command of `hatoba dev`. */
type Blow = 'kill' | 'start' | 'partition' | 'heal' | 'stop-agent' | 'start-agent';

const BLOWS: Readonly<Record<Condition, readonly Blow[]>> = {
  up: ['kill', 'partition', 'stop-agent'],
  killed: ['start'],
  partitioned: ['heal', 'kill'],
  stopped: ['start-agent', 'kill'],
};
const AFTER: Readonly<Record<Blow, Condition>> = {
  kill: 'killed',
  start: 'up',
  partition: 'partitioned',
  heal: 'up',
  'stop-agent': 'stopped',
  'start-agent': 'up',
};
const STACK = 'storm';
const SERVICES = ['red', 'blue'] as const;
const MANAGER: HostName = 'n1';
/** So many hosts may be out of order at once. */
const MOST_DOWN = 2;

export interface ChaosOptions {
  seed: number;
  /** How long the hosts may take, after each step, to show what the store says. */
  withinMs: number;
  log: (line: string) => void;
}

/**
 * Blows to the hosts of a dev cluster in an order given by the seed, services changing between them;
 * after each step every host that can be told something must show what the store says.
 */
export class Chaos {
  readonly #cluster: DevCluster;
  readonly #options: ChaosOptions;
  readonly #random: Random;
  readonly #hosts = new Map<HostName, Condition>(
    Object.keys(ADDRESS).map((name) => [name as HostName, 'up']),
  );
  #steps = 0;
  slowestMs = 0;

  constructor(cluster: DevCluster, options: ChaosOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  get steps(): number {
    return this.#steps;
  }

  async begin(): Promise<void> {
    const ports = { red: 8070, blue: 8071 };
    await deployAnswers(
      this.#cluster,
      STACK,
      SERVICES.map((name) => ({ name, publishedPort: ports[name] })),
    );
    await this.#check('at the beginning');
  }

  /** One blow or one change, and the comparison after it. */
  async step(): Promise<void> {
    this.#steps++;
    const changes = this.#hasManager() && this.#random.next() < 0.4;
    await this.#check(changes ? await this.#changeServices() : await this.#strike());
  }

  /** All hosts work again, and all shows what the store says. */
  async end(): Promise<void> {
    for (const [host, condition] of this.#hosts) {
      if (condition === 'killed') await this.#blow('start', host);
      if (condition === 'partitioned') await this.#blow('heal', host);
      if (condition === 'stopped') await this.#blow('start-agent', host);
    }
    await eventually(async () => {
      const nodes = await this.#cluster.nodes();
      const lost = nodes.filter((n) => n.state !== 'ready').map((n) => n.hostname);
      if (lost.length > 0) throw new Error(`not ready: ${lost.join(' ')}`);
    });
    await this.#check('at the end');
  }

  async #strike(): Promise<string> {
    const down = [...this.#hosts].filter(([, condition]) => condition !== 'up');
    const candidates = down.length < MOST_DOWN ? [...this.#hosts] : down;
    const [host, condition] = this.#pick(candidates);
    const blow = this.#pick(BLOWS[condition]);
    await this.#blow(blow, host);
    return `${blow} ${host}`;
  }

  async #blow(blow: Blow, host: HostName): Promise<void> {
    await this.#cluster.hatoba('dev', blow, host);
    this.#hosts.set(host, AFTER[blow]);
  }

  async #changeServices(): Promise<string> {
    const name = `${STACK}_${this.#pick(SERVICES)}`;
    const image = `answer:${1 + Math.floor(this.#random.next() * 2)}`;
    const replicas = 1 + Math.floor(this.#random.next() * 6);
    const args =
      this.#random.next() < 0.5
        ? ['update', '--detach', '--image', image, name]
        : ['scale', '--detach', `${name}=${replicas}`];
    await this.#cluster.hatoba('service', ...args);
    return `service ${args.join(' ')}`;
  }

  async #check(after: string): Promise<void> {
    const { log, withinMs } = this.#options;
    if (!this.#hasManager()) return log(`${after}: nobody to ask`);
    const control = openControl();
    try {
      const tookMs = await checkNetworks(control, { without: this.#unreachable(), withinMs });
      this.slowestMs = Math.max(this.slowestMs, tookMs);
      log(`${after}: as the store says after ${Math.round(tookMs)} ms`);
    } catch (error) {
      throw new Error(`${this.#text(after)}: ${(error as Error).message}`, { cause: error });
    } finally {
      control.close();
    }
  }

  /** The store is there: its host may be cut off from the others. */
  #hasManager(): boolean {
    const condition = this.#hosts.get(MANAGER);
    return condition === 'up' || condition === 'partitioned';
  }

  #unreachable(): ReadonlySet<string> {
    const isCutOff = this.#hosts.get(MANAGER) === 'partitioned';
    const lost = [...this.#hosts].filter(([host, condition]) =>
      isCutOff ? host !== MANAGER : condition !== 'up',
    );
    return new Set(lost.map(([host]) => host));
  }

  #pick<T>(from: readonly T[]): T {
    const one = from[Math.floor(this.#random.next() * from.length)];
    if (one === undefined) throw new Error('nothing to choose from');
    return one;
  }

  #text(after: string): string {
    const hosts = [...this.#hosts].map(([host, condition]) => `${host} ${condition}`).join(', ');
    return `seed ${this.#options.seed}, step ${this.#steps}, ${after} (${hosts})`;
  }
}
