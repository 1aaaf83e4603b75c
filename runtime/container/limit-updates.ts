import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import { checkLimits } from '../core/limits.js';
import { readThrottles } from '../oci/host-devices.js';
import { applyLimits, toReady, type CgroupWriteModules } from './apply-limits.js';
import type { GroupLimits } from './group-limits.js';
import type { ContainerEntry } from './record.js';

export interface LimitUpdateModules extends CgroupWriteModules {
  groupLimits: Pick<GroupLimits, 'bound'>;
}

/** Changes what containers may use while they run. */
export class LimitUpdates {
  readonly #modules: LimitUpdateModules;

  constructor(modules: LimitUpdateModules) {
    this.#modules = modules;
  }

  /**
   * Brings a container's cgroup to its new limits, all or none; one that has ended gets them with
   * its next start. Keeping them is the caller's part.
   * @throws {HatobaError} invalid-argument; failed-precondition for what the kernel refuses, such as
   *   less memory than is in use
   */
  async apply({ record, status }: ContainerEntry, limits: Limit): Promise<void> {
    const { host, groupLimits } = this.#modules;
    checkLimits(limits, host);
    const throttles = readThrottles(limits);
    const isOver = status.status === 'exited' || status.status === 'restarting';
    // A created one whose waiting process a reboot took has no cgroup either.
    if (isOver || status.process === undefined) return;
    const { config, cgroupPath } = record;
    const after = { limits: groupLimits.bound({ ...config, limits }), throttles };
    await applyLimits(cgroupPath, after, toReady(groupLimits.bound(config)), this.#modules);
  }
}
