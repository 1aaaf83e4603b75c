import { isKind } from '../../common/errors.js';
import type { Nftables } from '../../linux/ports.js';
import type { Checkable, Repair } from '../core/drift.js';
import type { NftElements } from '../core/nft-model.js';
import {
  compareSkeletons,
  elementsOf,
  plannedElements,
  repairElements,
  skeletonOf,
} from '../core/nft-observe.js';
import { familyOf, kindOf, NFT_SETS, NFT_TABLE, type NftSet } from '../core/nft-ruleset.js';

/** The tables, as far as they are checked. */
export interface CheckedTables {
  /** Grows with every change of chains or rules; 0 while nothing was applied. */
  structure(): number;
  /** What the sets must hold. */
  elements(): NftElements;
  /** Makes the tables anew, in one transaction. */
  remake(): Promise<void>;
}

type ListedTables = Pick<Nftables, 'run' | 'query' | 'isChangedByOthers'>;

/**
 * Keeps the nftables tables as they were applied. It looks only where another program changed any
 * table since. Chains and rules are compared with what the kernel showed after they were made; what
 * elements there must be follows from the plan.
 */
export class TableChecks implements Checkable {
  readonly part = 'nftables';
  readonly #tables: CheckedTables;
  readonly #nftables: ListedTables;
  /** Chains and rules as the kernel shows them when nobody else had a hand in them. */
  #known: { structure: number; skeleton: readonly string[] } | undefined;
  #isInDoubt = false;

  constructor(tables: CheckedTables, nftables: ListedTables) {
    this.#tables = tables;
    this.#nftables = nftables;
  }

  async isSuspect(): Promise<boolean> {
    const structure = this.#tables.structure();
    if (structure === 0) return false;
    if (await this.#nftables.isChangedByOthers()) this.#isInDoubt = true;
    if (!this.#isInDoubt && this.#known?.structure !== structure) await this.#learn(structure);
    return this.#isInDoubt;
  }

  async repair(): Promise<Repair[]> {
    const structure = this.#tables.structure();
    if (structure === 0) return [];
    const actual = await this.#list();
    // what is not known cannot be compared: nobody else's change must be taken for ours
    const isKnown = this.#known?.structure === structure;
    const wanted = isKnown ? (this.#known?.skeleton ?? []) : [];
    const broken = isKnown ? compareSkeletons(actual, wanted) : [];
    const repairs = isKnown && broken.length === 0 ? await this.#repairElements() : broken;
    const isRemade = !isKnown || broken.length > 0;
    if (isRemade) await this.#tables.remake();
    this.#isInDoubt = false;
    if (isRemade) await this.#learn(this.#tables.structure());
    return repairs;
  }

  async #learn(structure: number): Promise<void> {
    const skeleton = await this.#list();
    if (await this.#nftables.isChangedByOthers()) this.#isInDoubt = true;
    else if (this.#tables.structure() === structure) this.#known = { structure, skeleton };
  }

  /** Both tables without elements; what is not there is left out. */
  async #list(): Promise<string[]> {
    const skeleton: string[] = [];
    for (const family of ['ip', 'bridge']) {
      try {
        const command = `list table ${family} ${NFT_TABLE}`;
        skeleton.push(...skeletonOf(await this.#nftables.query(command, undefined, 'terse')));
      } catch (error) {
        if (!isKind(error, 'not-found')) throw error;
      }
    }
    return skeleton;
  }

  async #repairElements(): Promise<Repair[]> {
    const planned = this.#tables.elements();
    const repairs: Repair[] = [];
    for (const set of NFT_SETS) {
      const wanted = plannedElements(planned, set);
      const found = repairElements(set, await this.#elements(set), wanted);
      if (found.script !== '') await this.#nftables.run(found.script);
      repairs.push(...found.repairs);
    }
    return repairs;
  }

  async #elements(set: NftSet): Promise<Map<string, string>> {
    const place = `${familyOf(set)} ${NFT_TABLE} ${set}`;
    return elementsOf(await this.#nftables.query(`list ${kindOf(set)} ${place}`));
  }
}
