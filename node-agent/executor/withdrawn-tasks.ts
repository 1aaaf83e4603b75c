import type { NetworkState } from '../../overlay-net/driver.js';

type Endpoint = NetworkState['endpoints'][number];

/**
 * Tasks of this node that get nothing new from it any more, though the managers' state does not say
 * so yet: it is here that their end is known first.
 */
export class WithdrawnTasks {
  readonly #ids = new Set<string>();
  /** So that an endpoint that stays as it is remains the same object. */
  readonly #replaced = new WeakMap<Endpoint, Endpoint>();

  /** @returns whether the balancers change by it */
  add(taskId: string, { endpoints }: NetworkState): boolean {
    const own = endpoints.filter((e) => e.taskId === taskId);
    if (own.length > 0) this.#ids.add(taskId);
    return own.some((e) => e.ready);
  }

  /** Forgets tasks that have no endpoint any more. */
  follow({ endpoints }: NetworkState): void {
    if (this.#ids.size === 0) return;
    const there = new Set(endpoints.map((e) => e.taskId));
    for (const id of this.#ids) if (!there.has(id)) this.#ids.delete(id);
  }

  /** The endpoints, those of these tasks not ready. */
  applyTo(endpoints: readonly Endpoint[]): readonly Endpoint[] {
    if (this.#ids.size === 0) return endpoints;
    return endpoints.map((e) => (e.ready && this.#ids.has(e.taskId) ? this.#unready(e) : e));
  }

  #unready(endpoint: Endpoint): Endpoint {
    let unready = this.#replaced.get(endpoint);
    if (unready === undefined) {
      unready = { ...endpoint, ready: false };
      this.#replaced.set(endpoint, unready);
    }
    return unready;
  }
}
