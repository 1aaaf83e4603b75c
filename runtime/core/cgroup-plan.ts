import { HatobaError } from '../../common/errors.js';
import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import type { OciDeviceRule, OciResources } from './oci-spec.js';

const CPU_PERIOD_US = 100_000;
/** The kernel refuses less, sched_cfs_bandwidth. */
const MIN_CPU_QUOTA_US = 1000;
/** Less than crun needs to set a container up. */
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;

/**
 * Docker's device rules: anything may be made with mknod, only harmless devices may be opened.
 * runc and crun write them in this order; the last rule that matches wins.
 */
const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...(
    [
      [1, 3], // null
      [1, 5], // zero
      [1, 7], // full
      [1, 8], // random
      [1, 9], // urandom
      [5, 0], // tty
      [5, 1], // console
      [5, 2], // ptmx
    ] as const
  ).map(([major, minor]): OciDeviceRule => ({
    allow: true,
    type: 'c',
    major,
    minor,
    access: 'rwm',
  })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];

/**
 * Limits as the OCI runtime takes them for cgroup v1 and v2.
 * @param options.swapLimit whether the kernel accounts swap; then memory and swap together may use
 *   `memoryBytes`, so that a container at its limit is not swapped out
 * @throws {HatobaError} invalid-argument for limits no container can run in
 */
export function planResources(
  limits: Limit,
  options: {
    swapLimit: boolean;
    privileged: boolean;
    extraDevices: readonly OciDeviceRule[];
  },
): OciResources {
  if (limits.memoryBytes > 0 && limits.memoryBytes < MIN_MEMORY_BYTES) {
    throw new HatobaError(
      'invalid-argument',
      `memory limit of ${limits.memoryBytes} bytes is too small: at least 4 MiB are needed`,
    );
  }
  return {
    devices: options.privileged
      ? [{ allow: true, type: 'a', access: 'rwm' }]
      : [...DEFAULT_DEVICE_RULES, ...options.extraDevices],
    ...(limits.memoryBytes > 0 && {
      memory: {
        limit: limits.memoryBytes,
        ...(options.swapLimit && { swap: limits.memoryBytes }),
      },
    }),
    ...(limits.nanoCpus > 0 && {
      cpu: {
        quota: Math.max(MIN_CPU_QUOTA_US, Math.round((limits.nanoCpus * CPU_PERIOD_US) / 1e9)),
        period: CPU_PERIOD_US,
      },
    }),
    ...(limits.pids > 0 && { pids: { limit: limits.pids } }),
  };
}

/**
 * "/<parent>/<group>/<id>", below every controller's root.
 * @throws {HatobaError} invalid-argument for a group that is no single path segment
 */
export function cgroupPathOf(parent: string, group: string, id: string): string {
  if (group === '' || group === '.' || group === '..' || group.includes('/')) {
    throw new HatobaError('invalid-argument', `"${group}" cannot name a cgroup: no "/" please`);
  }
  return `/${[...parent.split('/').filter((part) => part !== ''), group, id].join('/')}`;
}
