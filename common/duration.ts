import { HatobaError } from './errors.js';

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Parses a Go and compose-spec duration: "1h5m30s20ms", "0", "1.5s". Rounded to whole milliseconds.
 * @throws {HatobaError} invalid-argument
 */
export function parseDurationMs(text: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy)];
  const matched = parts.reduce((sum, p) => sum + p[0].length, 0);
  if (parts.length === 0 || matched !== text.length) {
    throw new HatobaError(
      'invalid-argument',
      `"${text}" is not a duration like 10s, 1m30s or 500ms`,
    );
  }
  return Math.round(parts.reduce((sum, p) => sum + Number(p[1]) * (UNIT_MS[p[2] ?? ''] ?? 0), 0));
}

/** "10s", "1m30s", "500ms": what parseDurationMs reads back. */
export function formatDurationMs(ms: number): string {
  if (ms === 0) return '0s';
  let rest = ms;
  let text = '';
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
    ['ms', 1],
  ] as const) {
    const count = Math.floor(rest / size);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text === '' ? '0s' : text;
}
