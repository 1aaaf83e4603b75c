import { formatBytes } from '../../common/bytes.js';
import type { ContainerProcess, ContainerStats } from '../../proto/gen/hatoba/v1/engine.js';
import type { Listing } from './listing.js';

/** The JSON form of `hatoba stats`. Its fields are fixed; scripts count on them. */
export type StatsRow = ReturnType<typeof statsRow>;
export function statsRow(stats: ContainerStats) {
  const { memoryBytes, memoryLimitBytes } = stats;
  return {
    id: stats.containerId,
    name: stats.name,
    /** null until a second sample gives a rate; 100 = one core. */
    cpuPercent: stats.cpuCores === undefined ? null : round(stats.cpuCores * 100),
    cpuTotalNs: stats.cpuTotalNs,
    cpuThrottledNs: stats.cpuThrottledNs,
    memoryBytes,
    memoryLimitBytes,
    memoryPercent: memoryLimitBytes === 0 ? 0 : round((memoryBytes / memoryLimitBytes) * 100),
    memoryCacheBytes: stats.memoryCacheBytes,
    networkRxBytes: stats.networkRxBytes,
    networkTxBytes: stats.networkTxBytes,
    blockReadBytes: stats.blockReadBytes,
    blockWriteBytes: stats.blockWriteBytes,
    pids: stats.pids,
    pidsLimit: stats.pidsLimit,
    oomKills: stats.oomKills,
  };
}

export const STATS: Listing<StatsRow> = {
  key: (s) => s.id.slice(0, 12),
  columns: [
    { title: 'CONTAINER ID', field: 'ID', value: (s) => s.id.slice(0, 12) },
    { title: 'NAME', field: 'Name', value: (s) => s.name },
    { title: 'CPU %', field: 'CPUPerc', value: (s) => percentText(s.cpuPercent) },
    {
      title: 'MEM USAGE / LIMIT',
      field: 'MemUsage',
      value: (s) => pairText(s.memoryBytes, s.memoryLimitBytes),
    },
    { title: 'MEM %', field: 'MemPerc', value: (s) => percentText(s.memoryPercent) },
    {
      title: 'NET I/O',
      field: 'NetIO',
      value: (s) => pairText(s.networkRxBytes, s.networkTxBytes),
    },
    {
      title: 'BLOCK I/O',
      field: 'BlockIO',
      value: (s) => pairText(s.blockReadBytes, s.blockWriteBytes),
    },
    { title: 'PIDS', field: 'PIDs', value: (s) => String(s.pids) },
    { title: 'CACHE', value: (s) => formatBytes(s.memoryCacheBytes), wide: true },
    { title: 'THROTTLED', value: (s) => secondsText(s.cpuThrottledNs / 1e6), wide: true },
    { title: 'OOM KILLS', value: (s) => String(s.oomKills), wide: true },
  ],
};

/** The JSON form of `hatoba top`. */
export type ProcessRow = ReturnType<typeof processRow>;
export function processRow(process: ContainerProcess) {
  return {
    pid: process.pid,
    ppid: process.parentPid,
    user: process.user,
    startedAt: new Date(process.startedAtMs).toISOString(),
    cpuMs: process.cpuMs,
    memoryBytes: process.memoryBytes,
    command: process.command,
  };
}

export const PROCESSES: Listing<ProcessRow> = {
  key: (p) => String(p.pid),
  columns: [
    { title: 'PID', value: (p) => String(p.pid) },
    { title: 'PPID', value: (p) => String(p.ppid) },
    { title: 'USER', value: (p) => p.user },
    { title: 'STARTED', value: (p) => p.startedAt.slice(0, 19).replace('T', ' ') },
    { title: 'CPU', value: (p) => secondsText(p.cpuMs) },
    { title: 'RSS', value: (p) => formatBytes(p.memoryBytes) },
    { title: 'COMMAND', value: (p) => p.command },
  ],
};

function percentText(percent: number | null): string {
  return percent === null ? '--' : `${percent.toFixed(2)}%`;
}

function pairText(first: number, second: number): string {
  return `${formatBytes(first)} / ${formatBytes(second)}`;
}

/** "1:02.50": minutes, seconds and hundredths. */
function secondsText(ms: number): string {
  const hundredths = Math.round(ms / 10);
  const minutes = Math.floor(hundredths / 6000);
  return `${minutes}:${((hundredths % 6000) / 100).toFixed(2).padStart(5, '0')}`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
