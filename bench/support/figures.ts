/** The value in the middle; of two, the lower. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The smallest value that `percent` of all values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? NaN;
}

export interface BenchRow {
  what: string;
  ours: string;
  /** "not installed" where the peer cannot be run here. */
  peer: string;
  ratio: string;
  budget: string;
}

/** Prints rows under each other: what, ours, peer, ratio, budget. */
export function printRows(rows: readonly BenchRow[]): void {
  const keys = ['what', 'ours', 'peer', 'ratio', 'budget'] as const;
  const head = Object.fromEntries(keys.map((k) => [k, k])) as unknown as BenchRow;
  const all = [head, ...rows];
  const width = (key: (typeof keys)[number]): number =>
    Math.max(...all.map((row) => row[key].length));
  for (const row of all) {
    process.stdout.write(
      `${keys
        .map((k) => row[k].padEnd(width(k)))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
}
