import { readdirSync, readFileSync } from 'node:fs';

/**
 * Memory in bytes of all processes whose command line holds `text` and whose program's name begins
 * with `program`: the proportional set size, which counts what several share once.
 */
export function memoryOf(program: string, text: string): number {
  let bytes = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const words = read(`/proc/${pid}/cmdline`).split('\0');
    const name = words[0]?.split('/').at(-1) ?? '';
    if (!name.startsWith(program) || !words.some((word) => word.includes(text))) continue;
    bytes += Number(/^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
  }
  return bytes;
}

/** Empty for a process that has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
