/** How often it may be asked whether a choice would do; then the rest is found less thoroughly. */
const MAX_QUESTIONS = 500;

/**
 * The fewest items that are enough; of several such choices the one whose dearest is the cheapest.
 * @param items the cheapest first
 * @param isEnough holds for more items where it holds for fewer
 * @param most more than that are not worth having
 * @returns undefined when nothing is enough
 */
export function fewest<T extends object>(
  items: readonly T[],
  isEnough: (chosen: readonly T[]) => boolean,
  most = Infinity,
): readonly T[] | undefined {
  if (isEnough([])) return [];
  if (most < 1 || !isEnough(items)) return undefined;
  let questions = 0;
  /** Adds `size` items that come before the `end`th. */
  const search = (size: number, end: number, chosen: readonly T[]): readonly T[] | undefined => {
    if (size === 0) return ++questions <= MAX_QUESTIONS && isEnough(chosen) ? chosen : undefined;
    for (let i = size - 1; i < end && questions < MAX_QUESTIONS; i++) {
      const found = search(size - 1, i, [...items.slice(i, i + 1), ...chosen]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  for (let size = 1; size <= Math.min(most, items.length); size++) {
    const found = search(size, items.length, []);
    if (found !== undefined) return found;
    if (questions >= MAX_QUESTIONS) return spareDearest(items, isEnough, most);
  }
  return undefined;
}

/** All of them, less each one that can be spared, the dearest first. */
function spareDearest<T extends object>(
  items: readonly T[],
  isEnough: (chosen: readonly T[]) => boolean,
  most: number,
): readonly T[] | undefined {
  let chosen = items;
  for (const item of items.toReversed()) {
    const without = chosen.filter((other) => other !== item);
    if (isEnough(without)) chosen = without;
  }
  return chosen.length <= most ? chosen : undefined;
}
