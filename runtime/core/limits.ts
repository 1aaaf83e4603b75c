import { HatobaError } from '../../common/errors.js';
import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import { formatCpuList, parseCpuList } from './cpu-list.js';

/** Less than crun needs to set a container up. */
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;
const MIN_CPU_SHARES = 2;
const MAX_CPU_SHARES = 262_144;
const MIN_BLKIO_WEIGHT = 10;
const MAX_BLKIO_WEIGHT = 1000;

/** What limits are checked against. */
export interface LimitHost {
  /** Whether the kernel accounts swap. */
  swapLimit: boolean;
  /** Cores and memory nodes of the machine: "0-3". */
  cpus: string;
  mems: string;
}

/**
 * Refuses limits that contradict each other, that the kernel does not take, or that this machine
 * cannot keep.
 * @throws {HatobaError} invalid-argument; failed-precondition for what only this machine lacks
 */
export function checkLimits(limits: Limit, host: LimitHost): void {
  checkMemory(limits);
  checkSwap(limits, host);
  checkRange('cpu_shares', limits.cpuShares, MIN_CPU_SHARES, MAX_CPU_SHARES);
  checkRange('blkio_weight', limits.blkioWeight, MIN_BLKIO_WEIGHT, MAX_BLKIO_WEIGHT);
  checkCpuset('cpuset_cpus', 'core', limits.cpusetCpus, host.cpus);
  checkCpuset('cpuset_mems', 'memory node', limits.cpusetMems, host.mems);
  if (limits.nanoCpus < 0) refuse(`a limit of ${limits.nanoCpus / 1e9} cores is below 0`);
  for (const { path, rate } of throttlesOf(limits)) {
    if (!path.startsWith('/')) refuse(`"${path}" is not a device: give its path, as /dev/sda`);
    if (rate < 1) refuse(`the rate of ${path} must be at least 1, it is ${rate}`);
  }
}

/**
 * What a container of a group is given of its own limits. On cgroup v1 the kernel refuses more cores
 * than those of the group; on v2 it takes them, and gives no more than the group has.
 * @throws {HatobaError} failed-precondition when no core of the container is one of the group's
 */
export function boundByGroup(limits: Limit, group: Limit | undefined, cgroupVersion: 1 | 2): Limit {
  if (group === undefined || cgroupVersion === 2) return limits;
  const bounds = [limits.nanoCpus, group.nanoCpus].filter((nanos) => nanos > 0);
  return {
    ...limits,
    nanoCpus: limits.nanoCpus === 0 ? 0 : Math.min(...bounds),
    cpusetCpus: common('cpuset_cpus', limits.cpusetCpus, group.cpusetCpus),
    cpusetMems: common('cpuset_mems', limits.cpusetMems, group.cpusetMems),
  };
}

function common(name: string, own: string, group: string): string {
  if (own === '' || group === '') return own;
  const allowed = parseCpuList(group, name);
  const left = new Set([...parseCpuList(own, name)].filter((n) => allowed.has(n)));
  if (left.size > 0) return formatCpuList(left);
  throw new HatobaError(
    'failed-precondition',
    `${name} "${own}" has nothing in common with "${group}", which its group is limited to`,
  );
}

/** All of them, of any kind. */
export function throttlesOf(limits: Limit): Limit['blkioDeviceReadBps'] {
  return [
    ...limits.blkioDeviceReadBps,
    ...limits.blkioDeviceWriteBps,
    ...limits.blkioDeviceReadIops,
    ...limits.blkioDeviceWriteIops,
  ];
}

function checkMemory({ memoryBytes, memoryReservationBytes }: Limit): void {
  for (const [name, bytes] of [
    ['memory limit', memoryBytes],
    ['memory reservation', memoryReservationBytes],
  ] as const) {
    if (bytes !== 0 && bytes < MIN_MEMORY_BYTES) {
      refuse(`${name} of ${bytes} bytes is too small: at least 4 MiB are needed`);
    }
  }
  if (memoryBytes > 0 && memoryReservationBytes > memoryBytes) {
    refuse(
      `memory reservation of ${memoryReservationBytes} bytes is above the memory limit of ${memoryBytes}`,
    );
  }
}

function checkSwap({ memoryBytes, memorySwapBytes: swap }: Limit, host: LimitHost): void {
  if (swap === 0) return;
  if (swap < -1) refuse(`memory with swap of ${swap} bytes: use -1 for any amount of swap`);
  if (swap === -1) return;
  if (memoryBytes === 0) {
    refuse('a limit of memory with swap needs a limit of memory too (--memory)');
  }
  if (swap < memoryBytes) {
    refuse(
      `memory with swap of ${swap} bytes is less than the memory limit of ${memoryBytes}: it counts both together`,
    );
  }
  if (!host.swapLimit && swap !== memoryBytes) {
    throw new HatobaError(
      'failed-precondition',
      'swap cannot be limited: this kernel does not account it; boot it with swapaccount=1, or leave the limit of swap out',
    );
  }
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (value === 0 || (value >= min && value <= max)) return;
  refuse(`${name} ${value} is out of range: ${min} to ${max} are allowed`);
}

function checkCpuset(name: string, what: string, wanted: string, available: string): void {
  const there = parseCpuList(available, name);
  const missing = [...parseCpuList(wanted, name)].filter((n) => !there.has(n));
  if (missing.length === 0) return;
  refuse(`${name} "${wanted}": ${what} ${missing[0]} is not available; there are ${available}`);
}

function refuse(message: string): never {
  throw new HatobaError('invalid-argument', message);
}
