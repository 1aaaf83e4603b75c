/**
 * The objects that are in one of two lists only, compared by identity. Costs little where the lists
 * differ in few places close to each other, as lists do that follow one change.
 */
export function difference<T>(before: readonly T[], after: readonly T[]): { gone: T[]; come: T[] } {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  let left = before.length;
  let right = after.length;
  while (left > start && right > start && before[left - 1] === after[right - 1]) {
    left--;
    right--;
  }
  const gone = new Set(before.slice(start, left));
  const come = after.slice(start, right).filter((o) => !gone.delete(o));
  return { gone: [...gone], come };
}
