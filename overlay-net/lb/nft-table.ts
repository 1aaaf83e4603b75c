import type { Logger } from '../../common/logger.js';
import type { Nftables } from '../../linux/ports.js';
import type { Checkable, Repair } from '../core/drift.js';
import { narrow } from '../core/narrow.js';
import { planNft, type NftInput } from '../core/nft-plan.js';
import { formatRemoval, NFT_TABLE } from '../core/nft-ruleset.js';
import { changeScript, fullScript } from '../core/nft-script.js';

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
export class NftTable implements Checkable {
  readonly part = 'nftables';
  readonly #nftables: Nftables;
  readonly #logger: Logger;
  #applied: Applied | undefined;

  constructor(modules: { nftables: Nftables; logger: Logger }) {
    this.#nftables = modules.nftables;
    this.#logger = modules.logger;
  }

  /** The next change makes the tables anew. */
  forget(): void {
    this.#applied = undefined;
  }

  /** Whether the kernel has the tables at all. */
  async exists(): Promise<boolean> {
    const objects = await this.#nftables.query('list tables');
    return objects.filter((o) => tableName(o) === NFT_TABLE).length === 2;
  }

  async isSuspect(): Promise<boolean> {
    return this.#applied !== undefined && !(await this.exists());
  }

  async repair(): Promise<Repair[]> {
    const applied = this.#applied;
    if (applied === undefined || (await this.exists())) return [];
    this.forget();
    await this.apply(applied.input);
    return [{ change: 'added', what: 'the tables hatoba' }];
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
    this.#applied = undefined;
    const { slots, chains, elements } = planNft(input, before?.slots ?? new Map());
    await this.#nftables.run(fullScript({ slots, chains, elements }, input.underlayAddress));
    this.#applied = { input, slots: new Map(slots), chains: new Set(chains) };
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
    for (const chain of plan.chains) chains.add(chain);
    return { input, slots, chains };
  }

  async remove(): Promise<void> {
    this.#applied = undefined;
    await this.#nftables.run(formatRemoval());
  }
}

/** The name in {"table": {"family": …, "name": …}}; undefined for other objects. */
function tableName(object: unknown): unknown {
  if (typeof object !== 'object' || object === null || !('table' in object)) return undefined;
  const { table } = object;
  return typeof table === 'object' && table !== null && 'name' in table ? table.name : undefined;
}
