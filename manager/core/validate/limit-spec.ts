import type { Limit } from '../../../proto/gen/hatoba/v1/types.js';
import type { Problems } from './problem.js';

const MIN_MEMORY_BYTES = 4 * 1024 * 1024;
const CPU_SHARES = { min: 2, max: 262_144 };
const BLKIO_WEIGHT = { min: 10, max: 1000 };
/** "0-2,4" */
const CPU_LIST = /^(\d+(-\d+)?(,\d+(-\d+)?)*)?$/;
const THROTTLES = [
  'blkioDeviceReadBps',
  'blkioDeviceWriteBps',
  'blkioDeviceReadIops',
  'blkioDeviceWriteIops',
] as const;

/**
 * Limits beside cpus, memory and pids, as far as they do not depend on the node: which cores and
 * disks there are, and whether swap is accounted, its agent knows.
 */
export function checkLimits(limits: Limit, problems: Problems): void {
  checkRange(limits.cpuShares, CPU_SHARES, problems.at('cpuShares'));
  checkRange(limits.blkioWeight, BLKIO_WEIGHT, problems.at('blkioWeight'));
  for (const field of ['cpusetCpus', 'cpusetMems'] as const) {
    const text = limits[field];
    problems.at(field).require(CPU_LIST.test(text), `"${text}" is not a list like "0-2,4"`);
  }
  checkMemory(limits, problems);
  for (const field of THROTTLES) {
    limits[field].forEach(({ path, rate }, i) => {
      const at = problems.at(`${field}[${i}]`);
      at.require(path.startsWith('/'), `"${path}" is not the path of a device`);
      at.require(rate >= 1, `a rate of ${rate} lets nothing pass`);
    });
  }
}

function checkMemory(limits: Limit, problems: Problems): void {
  const { memoryBytes, memoryReservationBytes: reservation, memorySwapBytes: swap } = limits;
  const reserved = problems.at('memoryReservationBytes');
  reserved.require(
    reservation === 0 || reservation >= MIN_MEMORY_BYTES,
    `${reservation} bytes are below the least possible, 4 MiB`,
  );
  reserved.require(
    memoryBytes === 0 || reservation <= memoryBytes,
    `${reservation} bytes are above the memory limit of ${memoryBytes}`,
  );
  if (swap === 0 || swap === -1) return;
  problems
    .at('memorySwapBytes')
    .require(
      memoryBytes > 0 && swap >= memoryBytes,
      `${swap} bytes of memory and swap together are less than the memory limit, or there is none; -1 is any amount`,
    );
}

function checkRange(value: number, { min, max }: typeof CPU_SHARES, problems: Problems): void {
  const isRight = value === 0 || (value >= min && value <= max);
  problems.require(isRight, `${value} is not between ${min} and ${max}`);
}
