import type { Nftables } from '../../linux/ports.js';
import {
  RULE_COMMENT,
  TRAFFIC,
  USER_CHAIN,
  type ForeignChain,
  type ForeignRule,
  type ForwardChange,
  type Traffic,
} from '../core/foreign-forward.js';
import { NFT_TABLE } from '../core/nft-ruleset.js';
import type { ForeignTable, ForeignTables } from './forward-policy.js';

/** Tables of nftables, which iptables-nft makes too, with a base chain for forwarded packets. */
export class NftTables implements ForeignTables {
  readonly #nftables: Nftables;

  constructor(nftables: Nftables) {
    this.#nftables = nftables;
  }

  async read(): Promise<ForeignTable[]> {
    const chains = (await this.#nftables.query('list chains')).flatMap(partsOf('chain'));
    const users = new Set(chains.filter((c) => c['name'] === USER_CHAIN).map(tableOf));
    const found: ForeignTable[] = [];
    for (const chain of chains) {
      const { family, table, hook } = chain;
      const isIp = family === 'ip' || family === 'inet';
      if (!isIp || hook !== 'forward' || table === NFT_TABLE) continue;
      const name = tableOf(chain);
      const policy = chain['policy'] === 'drop' ? 'drop' : 'accept';
      const base = { ...(await this.#chain(name, String(chain['name']))), policy } as const;
      const user = users.has(name) ? await this.#chain(name, USER_CHAIN) : undefined;
      found.push({ name, base, user });
    }
    return found;
  }

  /** One transaction: there is no moment without our rules. */
  async change({ name: table }: ForeignTable, { removed, added }: ForwardChange): Promise<void> {
    const lines = removed.map((r) => `delete rule ${table} ${r.chain} handle ${r.handle}`);
    if (added !== undefined) {
      const { chain, before } = added;
      const start =
        before === undefined
          ? `add rule ${table} ${chain}`
          : `insert rule ${table} ${chain} handle ${before}`;
      lines.push(...TRAFFIC.map((traffic) => `${start} ${ruleFor(traffic)}`));
    }
    await this.#nftables.run(`${lines.join('\n')}\n`);
  }

  async #chain(table: string, name: string): Promise<ForeignChain> {
    const objects = await this.#nftables.query(`list chain ${table} ${name}`);
    return { name, rules: objects.flatMap(partsOf('rule')).map(toRule) };
  }
}

/** "ip filter" */
function tableOf({ family, table }: Part): string {
  return `${String(family)} ${String(table)}`;
}

/** As iptables-nft writes it, so that it can read it. */
function ruleFor(traffic: Traffic): string {
  const { key, pattern } = matchOf(traffic);
  return `${key} "${pattern}" counter accept comment "${RULE_COMMENT}"`;
}

function matchOf(traffic: Traffic): { key: string; pattern: string } {
  const [direction, prefix] = traffic.split(' ');
  return { key: direction === 'in' ? 'iifname' : 'oifname', pattern: `${prefix}*` };
}

type Part = Readonly<Record<string, unknown>>;

/** The objects of one kind in nft's JSON: [{"chain": {…}}, {"rule": {…}}, …]. */
function partsOf(kind: string): (object: unknown) => Part[] {
  return (object) => {
    const part = isPart(object) ? object[kind] : undefined;
    return isPart(part) ? [part] : [];
  };
}

function isPart(value: unknown): value is Part {
  return typeof value === 'object' && value !== null;
}

/** {"handle": 7, "comment": …, "expr": [{"match": …}, {"counter": …}, {"accept": null}]} */
function toRule({ handle, comment, expr }: Part): ForeignRule {
  const statements = Array.isArray(expr) ? (expr as unknown[]).filter(isPart) : [];
  const effects = statements.filter((s) => !('counter' in s));
  const [only] = effects;
  const rule: ForeignRule = { handle: Number(handle) };
  if (comment === RULE_COMMENT) return { ...rule, ours: trafficOf(effects) };
  if (effects.length !== 1 || only === undefined) return rule;
  if ('drop' in only || 'reject' in only) return { ...rule, verdict: 'refuse' };
  if ('return' in only) return { ...rule, verdict: 'return' };
  const [jump] = partsOf('jump')(only);
  return jump === undefined ? rule : { ...rule, jump: String(jump['target']) };
}

function trafficOf(effects: readonly Part[]): Traffic | 'other' {
  const text = JSON.stringify(effects);
  return TRAFFIC.find((t) => text === JSON.stringify(effectsFor(t))) ?? 'other';
}

function effectsFor(traffic: Traffic): Part[] {
  const { key, pattern } = matchOf(traffic);
  const match = { op: '==', left: { meta: { key } }, right: pattern };
  return [{ match }, { accept: null }];
}
