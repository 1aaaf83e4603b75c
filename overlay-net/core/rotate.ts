/** 2^32 divided by the golden ratio: any regular step through its multiples meets all places. */
const GOLDEN = 0x9e3779b9;

/**
 * A list begun at another place with every turn, so that clients that take the first of several
 * addresses are spread evenly, also those that ask for several names in turn.
 */
export function rotate<T>(list: readonly T[], turn: number): readonly T[] {
  if (list.length < 2) return list;
  const at = Math.floor(((Math.imul(turn, GOLDEN) >>> 0) / 2 ** 32) * list.length);
  return [...list.slice(at), ...list.slice(0, at)];
}
