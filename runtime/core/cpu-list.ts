import { HatobaError } from '../../common/errors.js';

/** More than any machine has; bounds what a list like "0-4000000000" makes us count. */
const MAX_NUMBER = 65_535;

/**
 * Reads the kernel's lists of cores and memory nodes: "0-2,4" → 0, 1, 2, 4; "" → none.
 * @param what for the message: "cpuset_cpus"
 * @throws {HatobaError} invalid-argument
 */
export function parseCpuList(text: string, what: string): ReadonlySet<number> {
  const numbers = new Set<number>();
  for (const part of text.trim() === '' ? [] : text.trim().split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || first > last || last > MAX_NUMBER) {
      throw new HatobaError(
        'invalid-argument',
        `${what} "${text}" is not a list of numbers and ranges like 0-2,4`,
      );
    }
    for (let n = first; n <= last; n++) numbers.add(n);
  }
  return numbers;
}

/** What parseCpuList reads back, numbers only. */
export function formatCpuList(numbers: ReadonlySet<number>): string {
  return [...numbers].toSorted((a, b) => a - b).join(',');
}

/**
 * What a cgroup below another one is to run on when that one changes: all of it if it had all of it
 * before, else what is left of its own, or all where nothing is.
 */
export function followCpuset(
  own: ReadonlySet<number>,
  parent: { before: ReadonlySet<number>; after: ReadonlySet<number> },
): ReadonlySet<number> {
  const hadAll = [...parent.before].every((n) => own.has(n));
  const left = new Set([...own].filter((n) => parent.after.has(n)));
  return hadAll || left.size === 0 ? parent.after : left;
}
