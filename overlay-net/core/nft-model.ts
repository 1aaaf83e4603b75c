import type { NftSet } from './nft-ruleset.js';

/** Key → data of a map's elements; data of a set's is empty. */
export type NftElements = ReadonlyMap<NftSet, ReadonlyMap<string, string>>;

/** Elements while they are gathered. */
export type NftDraft = Readonly<Record<NftSet, Map<string, string>>>;

/** What the tables must hold. */
export interface NftPlan {
  elements: NftElements;
  /** Backends by place, per load balancer; given to the next plan, so that places are kept. */
  slots: ReadonlyMap<string, readonly string[]>;
  /** Chains that elements jump to. */
  chains: ReadonlySet<string>;
}
