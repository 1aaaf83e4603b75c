import type { Logger } from '../../common/logger.js';
import type { Nftables } from '../../linux/ports.js';
import type { NetworkState } from '../driver.js';
import { planNft, type HostPort } from '../core/nft-plan.js';
import { NFT_TABLE } from '../core/nft-ruleset.js';
import { changeScript, fullScript, type NftApplied } from '../core/nft-script.js';

export interface NftInput {
  state: NetworkState;
  hostPorts: readonly HostPort[];
  underlayAddress: string;
}

/**
 * The nftables table of this driver, changed by elements; made anew when it is not known what it
 * holds: at first, after a failure, and when another program has emptied it.
 */
export class NftTable {
  readonly #nftables: Nftables;
  readonly #logger: Logger;
  #applied: (NftApplied & { underlayAddress: string }) | undefined;

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
    const { state, hostPorts, underlayAddress } = input;
    const before = this.#applied;
    const plan = planNft(state, hostPorts, before?.plan.slots ?? new Map());
    if (before?.underlayAddress === underlayAddress) {
      const script = changeScript(before, plan);
      try {
        if (script !== '') await this.#nftables.run(script);
        const chains = new Set([...before.chains, ...plan.chains]);
        this.#applied = { plan, chains, underlayAddress };
        return;
      } catch (error) {
        this.#logger.warn('Made the nftables table anew, as a change failed', {}, error);
      }
    }
    this.#applied = undefined;
    await this.#nftables.run(fullScript(plan, underlayAddress));
    this.#applied = { plan, chains: plan.chains, underlayAddress };
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
