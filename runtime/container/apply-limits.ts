import { existsSync } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import type { ResourceHost } from '../core/cgroup-plan.js';
import { planLimitWrites, type ReadyLimits } from '../core/cgroup-writes.js';
import { readThrottles } from '../oci/host-devices.js';

export interface CgroupWriteModules {
  cgroups: CgroupFs;
  host: ResourceHost;
}
/**
 * Brings a cgroup from some limits to others; a refusal in the middle takes back what was done.
 * @throws {HatobaError} failed-precondition
 */
export async function applyLimits(
  path: string,
  after: ReadyLimits,
  before: ReadyLimits | undefined,
  { cgroups, host }: CgroupWriteModules,
): Promise<void> {
  checkUse(path, after.limits, { cgroups, host });
  try {
    await cgroups.write(path, planLimitWrites(after, before, host));
  } catch (error) {
    if (before !== undefined) await takeBack(path, before, after, { cgroups, host });
    throw error;
  }
}

/** v2 takes any limit, and kills what is above it. */
function checkUse(path: string, limits: Limit, { cgroups, host }: CgroupWriteModules): void {
  if (host.cgroupVersion === 1 || limits.memoryBytes === 0) return;
  const cache = /^inactive_file (\d+)$/m.exec(cgroups.read(path, 'memory', 'memory.stat'))?.[1];
  const used = cgroups.memoryBytes(path) - Number(cache ?? 0);
  if (used <= limits.memoryBytes) return;
  throw new HatobaError(
    'failed-precondition',
    `memory limit of cgroup ${path} cannot be set to ${limits.memoryBytes}: more than that is in use (${used} bytes); give it more, or end what uses it`,
  );
}

async function takeBack(
  path: string,
  before: ReadyLimits,
  after: ReadyLimits,
  { cgroups, host }: CgroupWriteModules,
): Promise<void> {
  for (const write of planLimitWrites(before, after, host)) {
    // What cannot be taken back was not done either; the first error is the one to tell.
    await cgroups.write(path, [write]).catch(() => undefined);
  }
}

/** Limits that were set once; a disk that is gone since is no reason to refuse others. */
export function toReady(limits: Limit): ReadyLimits {
  const there = (devices: Limit['blkioDeviceReadBps']): Limit['blkioDeviceReadBps'] =>
    devices.filter(({ path }) => existsSync(path));
  const throttles = readThrottles({
    ...limits,
    blkioDeviceReadBps: there(limits.blkioDeviceReadBps),
    blkioDeviceWriteBps: there(limits.blkioDeviceWriteBps),
    blkioDeviceReadIops: there(limits.blkioDeviceReadIops),
    blkioDeviceWriteIops: there(limits.blkioDeviceWriteIops),
  });
  return { limits, throttles };
}
