import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import {
  RULE_COMMENT,
  TRAFFIC,
  USER_CHAIN,
  type ForeignChain,
  type ForeignRule,
  type ForwardChange,
  type Traffic,
} from '../core/foreign-forward.js';
import type { ForeignTable, ForeignTables } from './forward-policy.js';

const TABLES = '/proc/self/net/ip_tables_names';
const TOOL = '/usr/sbin/iptables-legacy';
const TIMEOUT_MS = 10_000;

/** The table "filter" of the older iptables, which nftables does not see. */
export class LegacyTables implements ForeignTables {
  async read(): Promise<ForeignTable[]> {
    if (!isInUse() || !existsSync(TOOL)) return [];
    const lines = (await iptables('-S')).split('\n');
    const user = lines.includes(`-N ${USER_CHAIN}`) ? toChain(lines, USER_CHAIN) : undefined;
    return [{ name: 'legacy filter', base: toChain(lines, 'FORWARD'), user }];
  }

  async change(_: ForeignTable, { removed, added }: ForwardChange): Promise<void> {
    // places are numbers: from the last one on, those before it keep theirs
    for (const { chain, handle } of removed.toReversed()) {
      await iptables('-D', chain, String(handle));
    }
    if (added === undefined) return;
    const { chain, before } = added;
    const gone = removed.filter((r) => r.chain === chain && r.handle < (before ?? 0)).length;
    for (const [i, traffic] of TRAFFIC.entries()) {
      const place = before === undefined ? ['-A', chain] : ['-I', chain, String(before - gone + i)];
      await iptables(...place, ...ruleFor(traffic));
    }
  }
}

function isInUse(): boolean {
  return existsSync(TABLES) && readFileSync(TABLES, 'utf8').split('\n').includes('filter');
}

async function iptables(...args: string[]): Promise<string> {
  const options = { timeout: TIMEOUT_MS, env: { LC_ALL: 'C' } };
  return (await promisify(execFile)(TOOL, ['-w', '5', ...args], options)).stdout;
}

function ruleFor(traffic: Traffic): string[] {
  const [direction, prefix] = traffic.split(' ');
  const comment = ['-m', 'comment', '--comment', RULE_COMMENT];
  return [direction === 'in' ? '-i' : '-o', `${prefix}+`, ...comment, '-j', 'ACCEPT'];
}

/** "-P FORWARD DROP", "-A FORWARD -i docker0 -j ACCEPT" … */
function toChain(lines: readonly string[], name: string): ForeignChain {
  const head = `-A ${name} `;
  const rules = lines.filter((line) => line.startsWith(head)).map((l) => l.slice(head.length));
  return {
    name,
    policy: lines.includes(`-P ${name} DROP`) ? 'drop' : 'accept',
    rules: rules.map((text, i) => ({ handle: i + 1, ...toRule(text.trim()) })),
  };
}

function toRule(text: string): Omit<ForeignRule, 'handle'> {
  if (text.includes(`--comment ${RULE_COMMENT} `)) {
    return { ours: TRAFFIC.find((t) => ruleFor(t).join(' ') === text) ?? 'other' };
  }
  const [, target] = /^-j (\S+)/.exec(text) ?? [];
  if (target === undefined) return {};
  if (target === 'DROP' || target === 'REJECT') return { verdict: 'refuse' };
  return target === 'RETURN' ? { verdict: 'return' } : { jump: target };
}
