import { HatobaError } from '../../common/errors.js';

/** Longest text in a message from outside: a seccomp profile is the longest there is. */
const MAX_TEXT_CHARS = 128 * 1024;
/** Entries of one list or map. */
const MAX_ENTRIES = 10_000;
/** Values in one message altogether. */
const MAX_VALUES = 200_000;

/**
 * Checks the sizes in a message from outside: that a small message of a few bytes each does not
 * become a large one, and that every number is one. What the values mean is checked elsewhere.
 * @throws {HatobaError} invalid-argument, naming the path ("spec.taskTemplate.env[3]")
 */
export function checkBounds(message: object, path: string): void {
  const budget = { values: MAX_VALUES };
  walk(message, path, budget);
}

function walk(value: unknown, path: string, budget: { values: number }): void {
  if (--budget.values < 0) throw tooLarge(path, `more than ${MAX_VALUES} values in one message`);
  if (typeof value === 'string') {
    if (value.length > MAX_TEXT_CHARS) {
      throw tooLarge(path, `a text of ${value.length} characters; at most ${MAX_TEXT_CHARS}`);
    }
    if (value.includes('\0')) throw tooLarge(path, 'a text with a NUL character');
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw tooLarge(path, `${value} is no number`);
  } else if (Array.isArray(value)) {
    checkEntries(value.length, path);
    value.forEach((entry, i) => walk(entry, `${path}[${i}]`, budget));
  } else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
    const entries = Object.entries(value);
    checkEntries(entries.length, path);
    for (const [key, entry] of entries) {
      walk(key, path, budget); // of a map, from outside too
      walk(entry, `${path}.${key.slice(0, 64)}`, budget);
    }
  }
}

function checkEntries(count: number, path: string): void {
  if (count > MAX_ENTRIES) throw tooLarge(path, `${count} entries; at most ${MAX_ENTRIES}`);
}

function tooLarge(path: string, what: string): HatobaError {
  return new HatobaError('invalid-argument', `${path}: ${what}`, { detail: { path } });
}
