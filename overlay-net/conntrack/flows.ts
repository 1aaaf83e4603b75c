import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Conntrack } from '../../linux/ports.js';
import { handedOver, planFlowCuts, planStaleFlows, subnetsOf } from '../core/flow-plan.js';
import { difference } from '../core/difference.js';
import { linkedNetworks } from '../core/link-plan.js';
import type { NetworkState } from '../core/network-state.js';
import { CutQueue } from './cut-queue.js';

export interface FlowsModules {
  conntrack: Conntrack;
  /** Another text once the tables have picked somebody for a packet of UDP. */
  picksOfUdp: () => Promise<string>;
  clock: Clock;
  logger: Logger;
}

/**
 * Single packets that go where this node has led the first of them. What was sent to an address by
 * itself would go there again, and its answer would miss the flow.
 */
const LED = { protocols: ['udp'], isTranslated: true } as const;
const NO_STATE: NetworkState = { nodeId: '', networks: [], endpoints: [], services: [], peers: [] };

/**
 * The connections that this node knows of. The kernel leads every packet of one as it led the
 * first, whatever the tables say by now; so those to an endpoint that has changed are forgotten here
 * and looked at anew.
 * 1. No call waits for the removal of flows, which fails with a line in the log only; who has to know
 *    that they are gone asks cutsDone().
 * 2. Before anything new may begin at an address, settle() is waited for: what is removed is always of
 *    a time before.
 */
export class Flows {
  readonly #modules: FlowsModules;
  #followed: NetworkState | undefined;
  /** Addresses where nobody is any more. */
  readonly #gone: CutQueue;
  /** Those that get nothing new. */
  readonly #leaving: CutQueue;
  /** At the last look for flows of UDP; and if there was none for certain. */
  #picks: { last?: string; whenNone?: string | undefined } = {};
  /** Of what a former time has left. */
  #cleaning: Promise<void> = Promise.resolve();
  #counting: { addresses: Set<string>; counts: Promise<ReadonlyMap<string, number>> } | undefined;
  #lastCount: Promise<unknown> = Promise.resolve();

  constructor(modules: FlowsModules) {
    this.#modules = modules;
    this.#gone = new CutQueue((reached) => this.#remove({ reached }), modules.clock);
    this.#leaving = new CutQueue((addresses) => this.#cutLed(addresses), modules.clock);
  }

  /**
   * Addresses that somebody else gets with this state, as the tables lead by another still: what goes
   * to the one of before must be cut in between.
   */
  handedOver(state: NetworkState): ReadonlySet<string> {
    return this.#followed === undefined ? new Set() : handedOver(this.#followed, state);
  }

  /** To be waited for before the tables lead by this state. */
  async settleFor(state: NetworkState): Promise<void> {
    const { come } = difference(this.#followed?.endpoints ?? [], state.endpoints);
    await this.settle(come.map((e) => e.address));
  }

  /** Resolves when nothing is to be cut at these addresses any more. */
  async settle(addresses: readonly string[]): Promise<void> {
    const cuts = [this.#gone, this.#leaving].map((queue) => queue.settle(addresses));
    await Promise.all([...cuts, this.#cleaning]);
  }

  /** Says by what the tables lead from now on; what differs from before decides what is cut. */
  follow(state: NetworkState): void {
    const before = this.#followed;
    this.#followed = state;
    if (before === undefined) return;
    const { all, udp } = planFlowCuts(before, state);
    this.cut(all);
    this.#leaving.add(udp);
  }

  /** Cuts all flows to addresses where nobody is any more. */
  cut(addresses: readonly string[]): void {
    this.#gone.add(addresses);
  }

  /**
   * Cuts what a former process of this node, or the time without one, has left.
   * @param sandboxes addresses of the containers of this node
   */
  async clean(state: NetworkState, sandboxes: readonly string[]): Promise<void> {
    const { within, except, udp } = planStaleFlows(state, sandboxes);
    this.#leaving.add(udp);
    if (within.length > 0) this.#cleaning = this.#remove({ reached: { within, except } });
    await this.#cleaning;
  }

  /** How many connections others have open to these addresses. */
  async countOpen(addresses: readonly string[]): Promise<number> {
    const waiting = (this.#counting ??= this.#nextCount());
    for (const address of addresses) waiting.addresses.add(address);
    const counts = await waiting.counts;
    return addresses.reduce((sum, address) => sum + (counts.get(address) ?? 0), 0);
  }

  /** Resolves when what was asked for so far is cut, or could not be. */
  async cutsDone(): Promise<void> {
    await Promise.all([this.#gone.done(), this.#leaving.done()]);
  }

  /** The same for addresses that get nothing new, without those where nobody is any more. */
  leavingDone(): Promise<void> {
    return this.#leaving.done();
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

  async #cutLed(addresses: readonly string[]): Promise<void> {
    const led = await this.#ledTo();
    const reached = addresses.filter((address) => led?.has(address) ?? true);
    if (reached.length > 0) await this.#remove({ reached, ...LED });
  }

  /**
   * To whom there are flows of UDP; undefined if that cannot be told. Most nodes lead no such packets:
   * the table is not looked through again until somebody was picked. A flow is in the table a moment
   * after its picking, so only a second look is believed that there is none.
   */
  async #ledTo(): Promise<ReadonlyMap<string, number> | undefined> {
    const { conntrack, picksOfUdp, logger } = this.#modules;
    try {
      const picks = await picksOfUdp();
      if (picks === this.#picks.whenNone) return new Map();
      const within = subnetsOf(linkedNetworks(this.#followed ?? NO_STATE));
      const led = await conntrack.countFlows({ reached: { within, except: [] }, ...LED });
      const isNone = led.size === 0 && picks === this.#picks.last;
      this.#picks = { last: picks, whenNone: isNone ? picks : undefined };
      return led;
    } catch (error) {
      logger.warn('Could not tell whether there are flows of UDP', {}, error);
      return undefined;
    }
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
