import { sleep, type Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Conntrack } from '../../linux/ports.js';
import { planFlowCuts, planStaleFlows } from '../core/flow-plan.js';
import type { NetworkState } from '../core/network-state.js';

export interface FlowsModules {
  conntrack: Conntrack;
  clock: Clock;
  logger: Logger;
}

/** A fifth of a core at most is for looks through the kernel's table, however much changes. */
const REST_PER_LOOK = 4;
const MAX_REST_MS = 200;

/** Addresses to which flows are to be cut together. */
interface Cuts {
  all: Set<string>;
  udp: Set<string>;
  done: Promise<void>;
  end: () => void;
}

/**
 * The connections that this node knows of. The kernel leads every packet of one as it led the
 * first, whatever the tables say by now; so those to an endpoint that has changed are forgotten here
 * and looked at anew.
 * 1. No call waits for the removal of flows, which fails with a line in the log only; who has to know
 *    that they are gone asks cutsDone().
 * 2. What is asked for during one look through the kernel's table is done together by the next, a
 *    rest later: a look takes 10 ms and more.
 */
export class Flows {
  readonly #modules: FlowsModules;
  #followed: NetworkState | undefined;
  /** Asked for, not begun. */
  #next: Cuts | undefined;
  /** Of those under way, or done. */
  #lastDone: Promise<void> = Promise.resolve();
  #isCutting = false;
  #counting: { addresses: Set<string>; counts: Promise<ReadonlyMap<string, number>> } | undefined;
  #lastCount: Promise<unknown> = Promise.resolve();

  constructor(modules: FlowsModules) {
    this.#modules = modules;
  }

  /** Says by what the tables lead from now on; what differs from before decides what is cut. */
  follow(state: NetworkState): void {
    const before = this.#followed;
    this.#followed = state;
    if (before === undefined) return;
    const { all, udp } = planFlowCuts(before, state);
    this.cut(all, udp);
  }

  /**
   * Cuts all flows to some addresses, and to others those of UDP.
   * @param all nobody is there any more
   */
  cut(all: readonly string[], udp: readonly string[] = []): void {
    if (all.length === 0 && udp.length === 0) return;
    const next = (this.#next ??= newCuts());
    for (const address of all) next.all.add(address);
    for (const address of udp) next.udp.add(address);
    if (!this.#isCutting) void this.#cutAll();
  }

  /**
   * Cuts what a former process of this node, or the time without one, has left.
   * @param sandboxes addresses of the containers of this node
   */
  async clean(state: NetworkState, sandboxes: readonly string[]): Promise<void> {
    const { within, except, udp } = planStaleFlows(state, sandboxes);
    this.cut([], udp);
    if (within.length > 0) await this.#remove({ reached: { within, except } });
  }

  /** How many connections others have open to these addresses. */
  async countOpen(addresses: readonly string[]): Promise<number> {
    const waiting = (this.#counting ??= this.#nextCount());
    for (const address of addresses) waiting.addresses.add(address);
    const counts = await waiting.counts;
    return addresses.reduce((sum, address) => sum + (counts.get(address) ?? 0), 0);
  }

  /** Resolves when what was asked for so far is cut, or could not be. */
  cutsDone(): Promise<void> {
    return this.#next?.done ?? this.#lastDone;
  }

  /** One count for all who ask until the one before it is done. */
  #nextCount(): { addresses: Set<string>; counts: Promise<ReadonlyMap<string, number>> } {
    const addresses = new Set<string>();
    const counts = this.#lastCount.then(() => {
      this.#counting = undefined;
      return this.#modules.conntrack.countFlows({ reached: [...addresses], isOpen: true });
    });
    this.#lastCount = counts.catch(() => undefined); // who asked hears of it
    return { addresses, counts };
  }

  async #cutAll(): Promise<void> {
    const { clock } = this.#modules;
    this.#isCutting = true;
    while (this.#next !== undefined) {
      const startedAtMs = clock.nowMs();
      const { all, udp, done, end } = this.#next;
      this.#next = undefined;
      this.#lastDone = done;
      if (all.size > 0) await this.#remove({ reached: [...all] });
      if (udp.size > 0) await this.#remove({ reached: [...udp], protocols: ['udp'] });
      end();
      const restMs = Math.min(MAX_REST_MS, REST_PER_LOOK * (clock.nowMs() - startedAtMs));
      if (restMs > 0) await sleep(clock, restMs);
    }
    this.#isCutting = false;
  }

  async #remove(filter: Parameters<Conntrack['removeFlows']>[0]): Promise<void> {
    const { conntrack, logger } = this.#modules;
    try {
      const removed = await conntrack.removeFlows(filter);
      if (removed > 0)
        logger.debug('Removed flows to endpoints that are gone or leave', { removed });
    } catch (error) {
      logger.warn('Could not remove flows to endpoints that are gone or leave', {}, error);
    }
  }
}

function newCuts(): Cuts {
  let end = (): void => undefined;
  const done = new Promise<void>((resolve) => (end = resolve));
  return { all: new Set(), udp: new Set(), done, end };
}
