import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import {
  CPU_PERIOD_US,
  NO_THROTTLES,
  swapTotalBytes,
  toCpuQuotaUs,
  toCpuWeight,
  type DeviceRate,
  type DiskThrottles,
  type ResourceHost,
} from './cgroup-plan.js';

export type CgroupController = 'cpu' | 'cpuset' | 'memory' | 'pids' | 'blkio';

/** A value for a file of a cgroup. */
export interface CgroupWrite {
  /** For messages: "memory limit". */
  limit: string;
  controller: CgroupController;
  /** Of these the first that the kernel has is written. */
  files: readonly { name: string; value: string }[];
  /** Sets something to what it is without a limit: a kernel that lacks the file needs no word. */
  isDefault: boolean;
}

/** Limits with the devices of their throttles found. */
export interface ReadyLimits {
  limits: Limit;
  throttles: DiskThrottles;
}

const UNLIMITED_V1 = '-1';
const DEFAULT_SHARES = 1024;
const DEFAULT_WEIGHT = 100;

/**
 * What brings a living cgroup from the limits it has to those it shall have: values that change, and
 * no others. The order is one the kernel accepts: on v1 the limit of memory is never above that of
 * memory with swap.
 * @param before undefined for a cgroup that nobody has limited yet
 */
export function planLimitWrites(
  after: ReadyLimits,
  before: ReadyLimits | undefined,
  host: ResourceHost,
): readonly CgroupWrite[] {
  const plan = host.cgroupVersion === 1 ? planV1 : planV2;
  const old = before === undefined ? undefined : plan(before, host).map(fingerprint);
  const writes = plan(after, host).filter((write) =>
    old === undefined ? !write.isDefault : !old.includes(fingerprint(write)),
  );
  const grows = isGrowing(after.limits, before?.limits, host);
  const ordered = grows && host.cgroupVersion === 1 ? swapFirst(writes) : writes;
  return [...ordered, ...planThrottles(after.throttles, before?.throttles ?? NO_THROTTLES, host)];
}

/** The weight of the disk alone, which a new container does not get from crun. */
export function planWeightWrites(limits: Limit, version: 1 | 2): readonly CgroupWrite[] {
  if (limits.blkioWeight === 0) return [];
  return [version === 1 ? weightV1(limits.blkioWeight) : weightV2(limits.blkioWeight)];
}

function planV1({ limits }: ReadyLimits, host: ResourceHost): readonly CgroupWrite[] {
  const swap = swapTotalBytes(limits, host);
  return [
    one('memory', 'memory limit', 'memory.limit_in_bytes', limits.memoryBytes, UNLIMITED_V1),
    ...(host.swapLimit
      ? [
          one(
            'memory',
            'limit of memory with swap',
            'memory.memsw.limit_in_bytes',
            swap === undefined || swap === -1 ? 0 : swap,
            UNLIMITED_V1,
          ),
        ]
      : []),
    one(
      'memory',
      'memory reservation',
      'memory.soft_limit_in_bytes',
      limits.memoryReservationBytes,
      UNLIMITED_V1,
    ),
    one('cpu', 'limit of cores', 'cpu.cfs_quota_us', quotaOf(limits), UNLIMITED_V1),
    one('cpu', 'cpu shares', 'cpu.shares', limits.cpuShares, String(DEFAULT_SHARES)),
    ...planCpusets(limits, host),
    one('pids', 'limit of processes', 'pids.max', limits.pids, 'max'),
    limits.blkioWeight === 0
      ? { ...weightV1(DEFAULT_WEIGHT), isDefault: true }
      : weightV1(limits.blkioWeight),
  ];
}

function planV2({ limits }: ReadyLimits, host: ResourceHost): readonly CgroupWrite[] {
  const total = swapTotalBytes(limits, host);
  const quota = quotaOf(limits);
  const { cpuShares, memoryReservationBytes } = limits;
  return [
    one('memory', 'memory limit', 'memory.max', limits.memoryBytes, 'max'),
    {
      limit: 'limit of memory with swap',
      controller: 'memory',
      files: [{ name: 'memory.swap.max', value: swapMax(limits.memoryBytes, total) }],
      isDefault: total === undefined || total === -1,
    },
    one('memory', 'memory reservation', 'memory.low', memoryReservationBytes, '0'),
    {
      limit: 'limit of cores',
      controller: 'cpu',
      files: [{ name: 'cpu.max', value: `${quota === 0 ? 'max' : quota} ${CPU_PERIOD_US}` }],
      isDefault: quota === 0,
    },
    one(
      'cpu',
      'cpu shares',
      'cpu.weight',
      cpuShares === 0 ? 0 : toCpuWeight(cpuShares),
      String(DEFAULT_WEIGHT),
    ),
    ...planCpusets(limits, host),
    one('pids', 'limit of processes', 'pids.max', limits.pids, 'max'),
    limits.blkioWeight === 0
      ? { ...weightV2(DEFAULT_WEIGHT), isDefault: true }
      : weightV2(limits.blkioWeight),
  ];
}

function planCpusets(limits: Limit, host: ResourceHost): readonly CgroupWrite[] {
  return (
    [
      ['cores it runs on', 'cpuset.cpus', limits.cpusetCpus, host.cpus],
      ['memory nodes it uses', 'cpuset.mems', limits.cpusetMems, host.mems],
    ] as const
  ).map(([limit, name, wanted, all]) => ({
    limit,
    controller: 'cpuset',
    // Empty means "as its parent" on v2 only.
    files: [{ name, value: wanted === '' && host.cgroupVersion === 1 ? all : wanted }],
    isDefault: wanted === '',
  }));
}

function weightV1(weight: number): CgroupWrite {
  return {
    limit: 'weight of the disk',
    controller: 'blkio',
    files: ['blkio.weight', 'blkio.bfq.weight'].map((name) => ({ name, value: String(weight) })),
    isDefault: false,
  };
}

function weightV2(weight: number): CgroupWrite {
  return {
    limit: 'weight of the disk',
    controller: 'blkio',
    files: [
      { name: 'io.bfq.weight', value: String(weight) },
      { name: 'io.weight', value: `default ${toIoWeight(weight)}` },
    ],
    isDefault: false,
  };
}

/** v1's 10–1000 to v2's 1–10000, as runc and crun do. */
function toIoWeight(weight: number): number {
  return weight === DEFAULT_WEIGHT ? DEFAULT_WEIGHT : 1 + Math.floor(((weight - 10) * 9999) / 990);
}

function planThrottles(
  after: DiskThrottles,
  before: DiskThrottles,
  host: ResourceHost,
): readonly CgroupWrite[] {
  return (['readBps', 'writeBps', 'readIops', 'writeIops'] as const).flatMap((kind) => {
    const isKept = ({ major, minor }: DeviceRate): boolean =>
      after[kind].some((d) => d.major === major && d.minor === minor);
    const ended = before[kind].filter((d) => !isKept(d)).map((d) => ({ ...d, rate: 0 }));
    return [...ended, ...after[kind]].map((device) =>
      host.cgroupVersion === 1 ? throttleV1(kind, device) : throttleV2(kind, device),
    );
  });
}

const FILES_V1 = {
  readBps: 'blkio.throttle.read_bps_device',
  writeBps: 'blkio.throttle.write_bps_device',
  readIops: 'blkio.throttle.read_iops_device',
  writeIops: 'blkio.throttle.write_iops_device',
} as const;
const WORDS_V2 = { readBps: 'rbps', writeBps: 'wbps', readIops: 'riops', writeIops: 'wiops' };

function throttleV1(kind: keyof DiskThrottles, { major, minor, rate }: DeviceRate): CgroupWrite {
  return {
    limit: `limit of disk ${major}:${minor}`,
    controller: 'blkio',
    files: [{ name: FILES_V1[kind], value: `${major}:${minor} ${rate}` }],
    isDefault: rate === 0,
  };
}

function throttleV2(kind: keyof DiskThrottles, { major, minor, rate }: DeviceRate): CgroupWrite {
  const value = `${major}:${minor} ${WORDS_V2[kind]}=${rate === 0 ? 'max' : rate}`;
  return {
    limit: `limit of disk ${major}:${minor}`,
    controller: 'blkio',
    files: [{ name: 'io.max', value }],
    isDefault: rate === 0,
  };
}

/** One number in one file; 0 is no limit, and written as `none`. */
function one(
  controller: CgroupController,
  limit: string,
  name: string,
  value: number,
  none: string,
): CgroupWrite {
  return {
    limit,
    controller,
    files: [{ name, value: value === 0 ? none : String(value) }],
    isDefault: value === 0,
  };
}

function quotaOf({ nanoCpus }: Limit): number {
  return nanoCpus === 0 ? 0 : toCpuQuotaUs(nanoCpus);
}

function swapMax(memoryBytes: number, totalBytes: number | undefined): string {
  return totalBytes === undefined || totalBytes === -1 ? 'max' : String(totalBytes - memoryBytes);
}

/** Whether memory with swap is to be more than it was: then it goes first. */
function isGrowing(after: Limit, before: Limit | undefined, host: ResourceHost): boolean {
  const total = (limits: Limit | undefined): number => {
    const bytes = limits === undefined ? undefined : swapTotalBytes(limits, host);
    return bytes === undefined || bytes === -1 ? Infinity : bytes;
  };
  return total(after) > total(before);
}

function swapFirst(writes: readonly CgroupWrite[]): readonly CgroupWrite[] {
  const isSwap = (write: CgroupWrite): boolean =>
    write.files.some(({ name }) => name === 'memory.memsw.limit_in_bytes');
  return [...writes.filter(isSwap), ...writes.filter((write) => !isSwap(write))];
}

function fingerprint(write: CgroupWrite): string {
  return `${write.controller} ${write.files.map((f) => `${f.name}=${f.value}`).join(' ')}`;
}
