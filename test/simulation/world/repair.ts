import type { SimCluster } from './cluster.js';
import type { SimHost } from './sim-host.js';

/** What undoes a fault, until it was. */
export class Repairs {
  readonly #cluster: SimCluster;
  readonly #open = new Set<() => void>();

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** Undoes a fault after that time, or when all is undone. */
  after(forMs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#open.delete(once)) undo();
    };
    this.#open.add(once);
    this.#cluster.timeline.after(forMs, once);
  }

  /** Undoes all faults now; everything runs then. */
  all(): void {
    for (const undo of [...this.#open]) undo();
    this.#cluster.network.lossRate = 0;
    for (const host of this.#cluster.hosts) revive(this.#cluster, host);
  }
}

/** The machine and its daemons run, whatever has ended them. */
export function revive(cluster: SimCluster, host: SimHost): void {
  if (host.isDead) return;
  host.isOn = true;
  host.brokenUntilMs = 0;
  if (host.isManager) cluster.startManager(host);
  cluster.startAgent(host);
}
