import { Load } from '../support/load.js';
import { addReports, type LoadReport } from '../support/load-report.js';
import { OutsideHost } from '../support/outside-host.js';
import { ADDRESS, type DevCluster } from './cluster.js';

/** Requests of a worker follow each other so closely that no gap of a service goes unseen. */
const PAUSE_MS = 10;
/** Connections are kept for between half of this and all of it: less than a task may drain. */
const KEEP_MS = 1000;
const CONNECTIONS = { connectionWorkers: 3, keepAliveWorkers: 4 };
const DATAGRAMS = { datagramWorkers: 2, socketWorkers: 1 };

export interface LoadPlan {
  /** Published ports, asked on every node from a host outside. */
  published: readonly number[];
  /** Services asked by name, so by virtual address, from inside: "app:80". */
  inside?: readonly string[];
  /** Names of the tasks themselves: "tasks.app:80". By TCP alone: datagrams have no end to wait for. */
  direct?: readonly string[];
  /** Service whose tasks are the clients inside. */
  clients?: string;
  keepMs?: number;
}

/** Clients outside and inside of a dev cluster, that ask all the time. */
export class NetworkLoad implements AsyncDisposable {
  readonly #outside: OutsideHost;
  readonly #loads: readonly Load[];

  private constructor(outside: OutsideHost, loads: readonly Load[]) {
    this.#outside = outside;
    this.#loads = loads;
  }

  static async start(cluster: DevCluster, plan: LoadPlan): Promise<NetworkLoad> {
    const outside = await OutsideHost.plugIn();
    const { published, clients, inside = [], direct = [] } = plan;
    const common = { pauseMs: PAUSE_MS, keepMs: plan.keepMs ?? KEEP_MS, ...CONNECTIONS };
    const targets = Object.values(ADDRESS).flatMap((address) =>
      published.map((port) => `${address}:${port}`),
    );
    const fromOutside = { ...common, ...DATAGRAMS, targets, checks: 'address' as const };
    const starts = [Load.start(outside.netnsPath, fromOutside)];
    if (clients !== undefined) {
      const { netnsPath, nameserver } = await insideClient(cluster, clients);
      const fromInside = { ...common, nameserver };
      starts.push(Load.start(netnsPath, { ...fromInside, ...DATAGRAMS, targets: inside }));
      if (direct.length > 0) starts.push(Load.start(netnsPath, { ...fromInside, targets: direct }));
    }
    return new NetworkLoad(outside, await Promise.all(starts));
  }

  /** Ends all clients after the requests that are under way. */
  async stop(): Promise<LoadReport> {
    return addReports(await Promise.all(this.#loads.map((load) => load.stop())));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const load of this.#loads) await load[Symbol.asyncDispose]();
    await this.#outside[Symbol.asyncDispose]();
  }
}

/** A task to be a client: the namespace it is in, and who answers names there. */
async function insideClient(
  cluster: DevCluster,
  service: string,
): Promise<{ netnsPath: string; nameserver: string }> {
  const [task] = await cluster.runningTasks(service);
  if (task === undefined) throw new Error(`no task of ${service} runs`);
  const address = task.addresses[0]?.ip ?? '';
  return { netnsPath: `/proc/${task.pid}/ns/net`, nameserver: address.replace(/\.\d+$/, '.1') };
}
