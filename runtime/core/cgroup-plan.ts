import { HatobaError } from '../../common/errors.js';
import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import { DEFAULT_DEVICE_RULES } from './device-rules.js';
import { checkLimits, type LimitHost } from './limits.js';
import type { OciBlockIo, OciDeviceRule, OciResources } from './oci-spec.js';

export const CPU_PERIOD_US = 100_000;
/** The kernel refuses less, sched_cfs_bandwidth. */
const MIN_CPU_QUOTA_US = 1000;

/** A disk by its number, and what may pass in a second. */
export interface DeviceRate {
  major: number;
  minor: number;
  rate: number;
}
/** The throttles of a Limit, their devices found on this machine. */
export interface DiskThrottles {
  readBps: readonly DeviceRate[];
  writeBps: readonly DeviceRate[];
  readIops: readonly DeviceRate[];
  writeIops: readonly DeviceRate[];
}
export const NO_THROTTLES: DiskThrottles = {
  readBps: [],
  writeBps: [],
  readIops: [],
  writeIops: [],
};

export interface ResourceHost extends LimitHost {
  cgroupVersion: 1 | 2;
}

/**
 * Limits as the OCI runtime takes them for cgroup v1 and v2. Without a limit of its own, memory with
 * swap is bounded as memory is where the kernel accounts swap, so that a container at its limit is
 * not swapped out. The weight of the disk is not among them: older crun knows the files of some
 * schedulers only, and does not say what it lacks (see planWeightWrites).
 * @throws {HatobaError} invalid-argument, failed-precondition for limits no container can run in
 */
export function planResources(
  limits: Limit,
  options: {
    host: ResourceHost;
    throttles: DiskThrottles;
    privileged: boolean;
    extraDevices: readonly OciDeviceRule[];
  },
): OciResources {
  checkLimits(limits, options.host);
  return {
    devices: options.privileged
      ? [{ allow: true, type: 'a', access: 'rwm' }]
      : [...DEFAULT_DEVICE_RULES, ...options.extraDevices],
    ...part('memory', planMemory(limits, options.host)),
    ...part('cpu', planCpu(limits, options.host)),
    ...(limits.pids > 0 && { pids: { limit: limits.pids } }),
    ...part('blockIO', planBlockIo(options.throttles)),
    // Older crun turns 1024 shares into less than half of the default weight.
    ...(limits.cpuShares > 0 &&
      options.host.cgroupVersion === 2 && {
        unified: { 'cpu.weight': String(toCpuWeight(limits.cpuShares)) },
      }),
  };
}

/** Microseconds in each period of CPU_PERIOD_US. */
export function toCpuQuotaUs(nanoCpus: number): number {
  return Math.max(MIN_CPU_QUOTA_US, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));
}

/**
 * Shares of cgroup v1 (2–262144, 1024 is usual) as a weight of v2 (1–10000, 100 is usual): the curve
 * through (2, 1), (1024, 100) and (262144, 10000) that newer runc and crun use.
 */
export function toCpuWeight(shares: number): number {
  const log = Math.log2(Math.min(Math.max(shares, 2), 262_144));
  const weight = 10 ** ((log * log + 125 * log) / 612 - 7 / 34);
  return Math.min(10_000, Math.max(1, Math.ceil(weight - 1e-9)));
}

/** The limit of memory and swap together: -1 = none, undefined = not to be set. */
export function swapTotalBytes(
  limits: Pick<Limit, 'memoryBytes' | 'memorySwapBytes'>,
  host: Pick<LimitHost, 'swapLimit'>,
): number | undefined {
  if (!host.swapLimit || limits.memoryBytes === 0) return undefined;
  return limits.memorySwapBytes === 0 ? limits.memoryBytes : limits.memorySwapBytes;
}

/**
 * "/<parent>/<group>/<id>", below every controller's root.
 * @throws {HatobaError} invalid-argument for a group that is no single path segment
 */
export function cgroupPathOf(parent: string, group: string, id: string): string {
  return `${groupPathOf(parent, group)}/${id}`;
}

/** "/<parent>/<group>". @throws {HatobaError} invalid-argument */
export function groupPathOf(parent: string, group: string): string {
  if (group === '' || group === '.' || group === '..' || group.includes('/')) {
    throw new HatobaError('invalid-argument', `"${group}" cannot name a cgroup: no "/" please`);
  }
  return `/${[...parent.split('/').filter((part) => part !== ''), group].join('/')}`;
}

function planMemory(limits: Limit, host: ResourceHost): OciResources['memory'] {
  const swap = swapTotalBytes(limits, host);
  return {
    ...(limits.memoryBytes > 0 && { limit: limits.memoryBytes }),
    ...(swap !== undefined && { swap }),
    ...(limits.memoryReservationBytes > 0 && { reservation: limits.memoryReservationBytes }),
  };
}

function planCpu(limits: Limit, host: ResourceHost): OciResources['cpu'] {
  return {
    ...(limits.nanoCpus > 0 && { quota: toCpuQuotaUs(limits.nanoCpus), period: CPU_PERIOD_US }),
    ...(limits.cpuShares > 0 && host.cgroupVersion === 1 && { shares: limits.cpuShares }),
    ...(limits.cpusetCpus !== '' && { cpus: limits.cpusetCpus }),
    ...(limits.cpusetMems !== '' && { mems: limits.cpusetMems }),
  };
}

function planBlockIo({ readBps, writeBps, readIops, writeIops }: DiskThrottles): OciBlockIo {
  return {
    ...(readBps.length > 0 && { throttleReadBpsDevice: readBps }),
    ...(writeBps.length > 0 && { throttleWriteBpsDevice: writeBps }),
    ...(readIops.length > 0 && { throttleReadIOPSDevice: readIops }),
    ...(writeIops.length > 0 && { throttleWriteIOPSDevice: writeIops }),
  };
}

/** Leaves out what would say nothing. */
function part<K extends string, V extends object>(
  key: K,
  value: V | undefined,
): Partial<Record<K, V>> {
  if (value === undefined || Object.keys(value).length === 0) return {};
  return { [key]: value } as Record<K, V>;
}
