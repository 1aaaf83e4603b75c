import { Load } from '../support/load.js';
import { addReports, type LoadOptions, type LoadReport } from '../support/load-report.js';
import { OutsideHost } from '../support/outside-host.js';
import { ADDRESS, type DevCluster } from './cluster.js';

/** Requests of a worker follow each other so closely that no gap of a service goes unseen. */
const PAUSE_MS = 10;
/** Connections are kept for at most this long: less than a task may drain. */
const KEEP_MS = 2000;
const WORKERS = { connectionWorkers: 3, keepAliveWorkers: 4, datagramWorkers: 2, socketWorkers: 1 };

export interface LoadPlan {
  /** Published ports, asked on every node from a host outside. */
  published: readonly number[];
  /** Services asked by name, so by virtual address, from inside: "app:80". */
  inside?: readonly string[];
  /** Service whose tasks are the clients inside. */
  clients?: string;
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
    const common: Omit<LoadOptions, 'targets'> = { pauseMs: PAUSE_MS, keepMs: KEEP_MS, ...WORKERS };
    const targets = Object.values(ADDRESS).flatMap((address) =>
      plan.published.map((port) => `${address}:${port}`),
    );
    const loads = [
      await Load.start(outside.netnsPath, { ...common, targets, checksAddress: true }),
    ];
    if (plan.inside !== undefined && plan.clients !== undefined) {
      const { pid, nameserver } = await insideClient(cluster, plan.clients);
      const inside = { ...common, targets: plan.inside, nameserver };
      loads.push(await Load.start(`/proc/${pid}/ns/net`, inside));
    }
    return new NetworkLoad(outside, loads);
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
): Promise<{ pid: number; nameserver: string }> {
  const [task] = await cluster.runningTasks(service);
  if (task === undefined) throw new Error(`no task of ${service} runs`);
  const address = task.addresses[0]?.ip ?? '';
  return { pid: task.pid, nameserver: address.replace(/\.\d+$/, '.1') };
}
