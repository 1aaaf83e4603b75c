import type { NftPlan } from './nft-model.js';
import {
  familyOf,
  formatBalanceChain,
  formatTables,
  NFT_SETS,
  NFT_TABLE,
  type NftSet,
} from './nft-ruleset.js';

/** The tables as the kernel is known to have them. */
export interface NftApplied {
  plan: NftPlan;
  /** Balance chains made so far; they are kept, being few. */
  chains: ReadonlySet<string>;
}

/** A script that replaces both tables as a whole in one transaction; connections live on. */
export function fullScript(plan: NftPlan, underlayAddress: string): string {
  const lines = [formatTables(underlayAddress), ...[...plan.chains].map(formatBalanceChain)];
  for (const set of NFT_SETS) lines.push(...elements('add', set, plan.elements.get(set)));
  return `${lines.join('\n')}\n`;
}

/** A script of the difference; empty when there is none. */
export function changeScript(applied: NftApplied, plan: NftPlan): string {
  const added: string[] = [];
  const removed: string[] = [];
  for (const chain of plan.chains) {
    if (!applied.chains.has(chain)) added.push(formatBalanceChain(chain));
  }
  for (const set of NFT_SETS) {
    const before = applied.plan.elements.get(set) ?? new Map<string, string>();
    const after = plan.elements.get(set) ?? new Map<string, string>();
    const gone = new Map([...before].filter(([key, data]) => after.get(key) !== data));
    const fresh = new Map([...after].filter(([key, data]) => before.get(key) !== data));
    removed.push(...elements('delete', set, gone));
    added.push(...elements('add', set, fresh));
  }
  const lines = [...removed, ...added];
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function elements(
  verb: 'add' | 'delete',
  set: NftSet,
  of: ReadonlyMap<string, string> | undefined,
): string[] {
  if (of === undefined || of.size === 0) return [];
  const list = [...of].map(([key, data]) => (data === '' ? key : `${key} : ${data}`));
  return [`${verb} element ${familyOf(set)} ${NFT_TABLE} ${set} { ${list.join(', ')} }`];
}
