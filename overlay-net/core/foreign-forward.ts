/**
 * Other programs' chains on the way of forwarded packets. A packet passes only if every chain there
 * accepts it, so one that refuses what it does not know (Docker sets such a policy) refuses our
 * traffic too, and no chain of our own can change that.
 */

/** What an accept rule of ours is for: packets from, or to, bridges whose names begin so. */
export const TRAFFIC = ['in hb', 'in hl', 'out hb', 'out hl'] as const;
export type Traffic = (typeof TRAFFIC)[number];

/** By this comment, on a rule in a table of others, a rule of ours is known. */
export const RULE_COMMENT = 'hatoba';

export interface ForeignRule {
  /** What it is deleted by, and what is put before it. */
  handle: number;
  /** Of ours: what it accepts; "other" for one of another version. */
  ours?: Traffic | 'other';
  /** What becomes of every packet that gets here. */
  verdict?: 'return' | 'refuse';
  /** The chain that every packet goes through here. */
  jump?: string;
}

export interface ForeignChain {
  name: string;
  /** Of a base chain, where no rule decides. */
  policy?: 'accept' | 'drop';
  rules: readonly ForeignRule[];
}

/** How a table is changed: what is removed first, then where our rules are put, if anywhere. */
export interface ForwardChange {
  removed: readonly { chain: string; handle: number }[];
  /** In that order; before the rule of that handle, or at the end. */
  added?: { chain: string; before: number | undefined };
}

/** Chains made for the rules of others. */
export const USER_CHAIN = 'DOCKER-USER';

/**
 * What lets our traffic through a table's base chain.
 * 1. Nothing is put into a chain that lets pass what it does not know.
 * 2. Our rules are put at the end of the chain made for that, where what the user has put there still
 *    goes first; else at the head of the base chain.
 * 3. Where all is as it should be, nothing changes.
 * @param user the table's USER_CHAIN
 */
export function planForward(base: ForeignChain, user: ForeignChain | undefined): ForwardChange {
  const chains = user === undefined ? [base] : [base, user];
  const linked = user !== undefined && base.rules.some((r) => r.jump === user.name) && user;
  const place = refuses(base) ? linked || base : undefined;
  const ours = (chain: ForeignChain): ForeignRule[] => chain.rules.filter((r) => r.ours);
  const isRight = chains.every((chain) => {
    const traffic = ours(chain).map((r) => r.ours);
    return chain === place ? String(traffic) === String(TRAFFIC) : traffic.length === 0;
  });
  if (isRight) return { removed: [] };
  const removed = chains.flatMap((chain) =>
    ours(chain).map(({ handle }) => ({ chain: chain.name, handle })),
  );
  return place === undefined ? { removed } : { removed, added: placeIn(place, place === base) };
}

/** Whether a base chain does not let pass what none of its rules is about. */
function refuses(base: ForeignChain): boolean {
  return base.policy === 'drop' || base.rules.at(-1)?.verdict === 'refuse';
}

function placeIn(chain: ForeignChain, isHead: boolean): NonNullable<ForwardChange['added']> {
  const others = chain.rules.filter((r) => r.ours === undefined);
  const last = others.at(-1);
  const next = isHead ? others[0] : last?.verdict === undefined ? undefined : last;
  return { chain: chain.name, before: next?.handle };
}
