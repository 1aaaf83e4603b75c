import type { Logger } from '../../common/logger.js';
import type { Nftables } from '../../linux/ports.js';
import type { Checkable } from '../core/drift.js';
import { narrow } from '../core/narrow.js';
import type { NftPlan } from '../core/nft-model.js';
import { planNft, type NftInput } from '../core/nft-plan.js';
import { formatRemoval, PICKS_OF_UDP } from '../core/nft-ruleset.js';
import { changeScript, fullScript } from '../core/nft-script.js';
import { TableChecks } from './table-checks.js';

export interface TableInput extends NftInput {
  /** Own data path address; empty while the node has none. */
  underlayAddress: string;
}

/** What the tables hold, from which their elements follow. */
interface Applied {
  input: TableInput;
  slots: Map<string, readonly string[]>;
  /** Balance chains made so far; they are kept, being few. */
  chains: Set<string>;
}

/**
 * The nftables tables of this driver, changed by elements; made anew when it is not known what they
 * hold: at first, after a failure, and when another program has emptied them.
 */
export class NftTable {
  readonly #nftables: Nftables;
  readonly #logger: Logger;
  #applied: Applied | undefined;
  /** Counts changes of chains and rules. */
  #structure = 0;

  constructor(modules: { nftables: Nftables; logger: Logger }) {
    this.#nftables = modules.nftables;
    this.#logger = modules.logger;
  }

  /** Keeps the tables as they were applied. */
  checks(): Checkable {
    const tables = {
      structure: () => (this.#applied === undefined ? 0 : this.#structure),
      elements: () => this.#elements(),
      remake: () => this.#remake(),
    };
    return new TableChecks(tables, this.#nftables);
  }

  #elements(): NftPlan['elements'] {
    const applied = this.#applied;
    return applied === undefined ? new Map() : planNft(applied.input, applied.slots).elements;
  }

  /** Connections live on; backends keep their places. */
  async #remake(): Promise<void> {
    const applied = this.#applied;
    if (applied === undefined) return;
    try {
      await this.#makeAnew(applied.input, applied.slots);
    } catch (error) {
      this.#applied = applied; // to be tried again
      throw error;
    }
  }

  async #makeAnew(input: TableInput, places: NftPlan['slots']): Promise<void> {
    this.#applied = undefined;
    const { slots, chains, elements } = planNft(input, places);
    // what others have changed until now is of no matter: nothing of it stays
    await this.#nftables.isChangedByOthers();
    await this.#nftables.run(fullScript({ slots, chains, elements }, input.underlayAddress));
    this.#structure++;
    this.#applied = { input, slots: new Map(slots), chains: new Set(chains) };
  }

  async apply(input: TableInput): Promise<void> {
    const before = this.#applied;
    if (before?.input.underlayAddress === input.underlayAddress) {
      try {
        this.#applied = await this.#change(before, input);
        return;
      } catch (error) {
        this.#logger.warn('Made the nftables tables anew, as a change failed', {}, error);
      }
    }
    await this.#makeAnew(input, before?.slots ?? new Map());
  }

  /** Plans only what can differ: with ten thousand services that is the most part of a change. */
  async #change(before: Applied, input: TableInput): Promise<Applied> {
    const parts = narrow(before.input.state, input.state);
    const old = planNft({ ...before.input, state: parts.before }, before.slots);
    const plan = planNft({ ...input, state: parts.after }, before.slots);
    const script = changeScript({ plan: old, chains: before.chains }, plan);
    if (script !== '') await this.#nftables.run(script);
    // changed in place: a copy costs what there is
    const { slots, chains } = before;
    for (const key of old.slots.keys()) slots.delete(key);
    for (const [key, placed] of plan.slots) slots.set(key, placed);
    if ([...plan.chains].some((chain) => !chains.has(chain))) this.#structure++;
    for (const chain of plan.chains) chains.add(chain);
    return { input, slots, chains };
  }

  /**
   * Another text once a backend was picked for a packet of UDP.
   * @throws {HatobaError} where there are no tables
   */
  async picksOfUdp(): Promise<string> {
    const structure = this.#structure; // tables that are made anew count anew
    return `${structure} ${await this.#nftables.countedPackets(PICKS_OF_UDP)}`;
  }

  async remove(): Promise<void> {
    this.#applied = undefined;
    await this.#nftables.run(formatRemoval());
  }
}
