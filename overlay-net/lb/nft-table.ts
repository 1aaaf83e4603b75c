import type { Logger } from '../../common/logger.js';
import type { Nftables } from '../../linux/ports.js';
import type { NetworkState } from '../driver.js';
import { narrow } from '../core/narrow.js';
import { planNft, type HostPort, type NftPlan } from '../core/nft-plan.js';
import { NFT_TABLE } from '../core/nft-ruleset.js';
import { changeScript, fullScript } from '../core/nft-script.js';

export interface NftInput {
  state: NetworkState;
  hostPorts: readonly HostPort[];
  underlayAddress: string;
}

/** What the table holds, from which its elements follow. */
interface Applied {
  input: NftInput;
  slots: NftPlan['slots'];
  /** Balance chains made so far; they are kept, being few. */
  chains: ReadonlySet<string>;
}

/**
 * The nftables table of this driver, changed by elements; made anew when it is not known what it
 * holds: at first, after a failure, and when another program has emptied it.
 */
export class NftTable {
  readonly #nftables: Nftables;
  readonly #logger: Logger;
  #applied: Applied | undefined;

  constructor(modules: { nftables: Nftables; logger: Logger }) {
    this.#nftables = modules.nftables;
    this.#logger = modules.logger;
  }

  /** The next change makes the table anew. */
  forget(): void {
    this.#applied = undefined;
  }

  /** Whether the kernel has the table at all. */
  async exists(): Promise<boolean> {
    const objects = await this.#nftables.query('list tables ip');
    return objects.some((o) => tableName(o) === NFT_TABLE);
  }

  async apply(input: NftInput): Promise<void> {
    const before = this.#applied;
    if (before?.input.underlayAddress === input.underlayAddress) {
      try {
        this.#applied = await this.#change(before, input);
        return;
      } catch (error) {
        this.#logger.warn('Made the nftables table anew, as a change failed', {}, error);
      }
    }
    this.#applied = undefined;
    const { state, hostPorts, underlayAddress } = input;
    const { slots, chains, elements } = planNft(state, hostPorts, before?.slots ?? new Map());
    await this.#nftables.run(fullScript({ slots, chains, elements }, underlayAddress));
    this.#applied = { input, slots, chains };
  }

  /** Plans only what can differ: with ten thousand services that is the most part of a change. */
  async #change(before: Applied, input: NftInput): Promise<Applied> {
    const parts = narrow(before.input.state, input.state);
    const old = planNft(parts.before, before.input.hostPorts, before.slots);
    const plan = planNft(parts.after, input.hostPorts, before.slots);
    const script = changeScript({ plan: old, chains: before.chains }, plan);
    if (script !== '') await this.#nftables.run(script);
    const slots = new Map(before.slots);
    for (const key of old.slots.keys()) slots.delete(key);
    for (const [key, placed] of plan.slots) slots.set(key, placed);
    return { input, slots, chains: new Set([...before.chains, ...plan.chains]) };
  }

  async remove(): Promise<void> {
    this.#applied = undefined;
    // declaring it first makes the deletion succeed where there is none
    await this.#nftables.run(`table ip ${NFT_TABLE}\ndelete table ip ${NFT_TABLE}\n`);
  }
}

/** The name in {"table": {"family": "ip", "name": …}}; undefined for other objects. */
function tableName(object: unknown): unknown {
  if (typeof object !== 'object' || object === null || !('table' in object)) return undefined;
  const { table } = object;
  return typeof table === 'object' && table !== null && 'name' in table ? table.name : undefined;
}
