/** Reads what cgroups and /proc count; every parser takes any text and passes over what it is not. */

/** Texts of the files; empty where the kernel has none. */
export interface StatsTexts {
  version: 1 | 2;
  /** v1: cpuacct.usage */
  cpuUsage: string;
  cpuStat: string;
  memoryUsage: string;
  memoryStat: string;
  /** v2: memory.max of the cgroup and of those above it. */
  memoryLimits: readonly string[];
  pidsCurrent: string;
  pidsMax: string;
  /** v1: blkio.throttle.io_service_bytes; v2: io.stat */
  io: string;
  /** /proc/PID/net/dev */
  netDev: string;
}

export interface CgroupSample {
  cpuTotalNs: number;
  cpuThrottledNs: number;
  /** As Docker counts it: without the page cache that the kernel would give back first. */
  memoryBytes: number;
  memoryCacheBytes: number;
  memoryLimitBytes: number;
  pids: number;
  /** 0 = no limit. */
  pidsLimit: number;
  networkRxBytes: number;
  networkTxBytes: number;
  blockReadBytes: number;
  blockWriteBytes: number;
}

/** @param machineBytes memory of the machine, the limit of those that have none */
export function toSample(texts: StatsTexts, machineBytes: number): CgroupSample {
  const { version } = texts;
  const cpu = parseKeyed(texts.cpuStat);
  const memory = parseKeyed(texts.memoryStat);
  const pick = (v1: string, v2: string): number => memory.get(version === 1 ? v1 : v2) ?? 0;
  const limits =
    version === 1
      ? [pick('hierarchical_memory_limit', '')]
      : texts.memoryLimits.map((text) => parseCount(text));
  const io = version === 1 ? parseBlkio(texts.io) : parseIoStat(texts.io);
  const net = parseNetDev(texts.netDev);
  return {
    cpuTotalNs: version === 1 ? parseCount(texts.cpuUsage) : (cpu.get('usage_usec') ?? 0) * 1000,
    cpuThrottledNs:
      version === 1 ? (cpu.get('throttled_time') ?? 0) : (cpu.get('throttled_usec') ?? 0) * 1000,
    memoryBytes: Math.max(
      0,
      parseCount(texts.memoryUsage) - pick('total_inactive_file', 'inactive_file'),
    ),
    memoryCacheBytes: pick('total_cache', 'file'),
    memoryLimitBytes: Math.min(machineBytes, ...limits.filter((bytes) => bytes > 0)),
    pids: parseCount(texts.pidsCurrent),
    pidsLimit: parseCount(texts.pidsMax),
    networkRxBytes: net.rxBytes,
    networkTxBytes: net.txBytes,
    blockReadBytes: io.readBytes,
    blockWriteBytes: io.writeBytes,
  };
}

/** "123\n" → 123; "max" and anything else → 0. */
export function parseCount(text: string): number {
  return /^\s*\d+\s*$/.test(text) ? Number(text) : 0;
}

/** Lines of a name and a number, such as memory.stat and cpu.stat. */
export function parseKeyed(text: string): ReadonlyMap<string, number> {
  return new Map(
    [...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, key = '', value]) => [key, Number(value)]),
  );
}

/** "254:0 Read 4096", a line per disk and kind. */
export function parseBlkio(text: string): { readBytes: number; writeBytes: number } {
  return sumOf(text.matchAll(/^\d+:\d+ (Read|Write) (\d+)$/gm), 'Read');
}

/** "254:0 rbytes=4096 wbytes=0 rios=1 …", a line per disk. */
export function parseIoStat(text: string): { readBytes: number; writeBytes: number } {
  return sumOf(text.matchAll(/ (r|w)bytes=(\d+)\b/g), 'r');
}

/** All interfaces but the loopback. */
export function parseNetDev(text: string): { rxBytes: number; txBytes: number } {
  let rxBytes = 0;
  let txBytes = 0;
  for (const line of text.split('\n')) {
    const match = /^\s*([^\s:]+):\s*(\d+)((?:\s+\d+){7})\s+(\d+)/.exec(line);
    if (match === null || match[1] === 'lo') continue;
    rxBytes += Number(match[2]);
    txBytes += Number(match[4]);
  }
  return { rxBytes, txBytes };
}

function sumOf(
  matches: Iterable<RegExpExecArray>,
  readWord: string,
): { readBytes: number; writeBytes: number } {
  let readBytes = 0;
  let writeBytes = 0;
  for (const [, kind, bytes] of matches) {
    if (kind === readWord) readBytes += Number(bytes);
    else writeBytes += Number(bytes);
  }
  return { readBytes, writeBytes };
}
