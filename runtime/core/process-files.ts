/** Reads /proc/PID; every parser takes any text. */

/** The unit of times in /proc, fixed for user space on all Linux machines. */
const TICK_MS = 10;

export interface ProcessTexts {
  /** /proc/PID/stat, status and cmdline */
  stat: string;
  status: string;
  cmdline: string;
}

export interface ProcessView {
  pid: number;
  parentPid: number;
  uid: number;
  /** After the machine's start. */
  startedAfterBootMs: number;
  cpuMs: number;
  memoryBytes: number;
  /** Words joined by blanks; the name in brackets for one without any. */
  command: string;
}

/** @returns undefined for what is no process, or one that ended while it was read */
export function parseProcess({ stat, status, cmdline }: ProcessTexts): ProcessView | undefined {
  // The name, in parentheses, may itself hold spaces and parentheses.
  const open = stat.indexOf('(');
  const close = stat.lastIndexOf(')');
  const fields = stat.slice(close + 2).split(' ');
  const pid = Number(stat.slice(0, open));
  const [parentPid, user, system, start] = [1, 11, 12, 19].map((i) => Number(fields[i]));
  if (open < 0 || close < open || parentPid === undefined || !Number.isInteger(pid)) {
    return undefined;
  }
  if (user === undefined || system === undefined || start === undefined) return undefined;
  if (![parentPid, user, system, start].every(Number.isFinite)) return undefined;
  const words = cmdline.split('\0').join(' ').trim();
  return {
    pid,
    parentPid,
    uid: numberOf(status, /^Uid:\s+\d+\s+(\d+)/m),
    startedAfterBootMs: start * TICK_MS,
    cpuMs: (user + system) * TICK_MS,
    memoryBytes: numberOf(status, /^VmRSS:\s+(\d+) kB$/m) * 1024,
    command: words === '' ? `[${stat.slice(open + 1, close)}]` : words,
  };
}

/** When the machine started, by /proc/stat. */
export function parseBootTimeMs(procStat: string): number {
  return numberOf(procStat, /^btime (\d+)$/m) * 1000;
}

function numberOf(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? 0);
}
