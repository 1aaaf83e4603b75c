import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import { Limit } from '../../proto/gen/hatoba/v1/types.js';
import { groupPathOf } from '../core/cgroup-plan.js';
import { planLimitWrites } from '../core/cgroup-writes.js';
import { boundByGroup, checkLimits } from '../core/limits.js';
import type { ContainerConfig } from '../engine.js';
import { readThrottles } from '../oci/host-devices.js';
import type { GroupUse } from './group-use.js';
import { applyLimits, toReady, type CgroupWriteModules } from './apply-limits.js';

export interface GroupLimitModules extends CgroupWriteModules {
  /** Where they are kept: a JSON object of group → Limit. */
  file: string;
  cgroupParent: string;
  groups: GroupUse;
}

/**
 * Limits of cgroup groups: what all containers of one may use together. The kernel bounds children
 * by their parent. A group's cgroup is there only while it has containers, so its limits are set
 * again whenever one is made.
 */
export class GroupLimits {
  readonly #modules: GroupLimitModules;
  readonly #limits: Map<string, Limit>;

  constructor(modules: GroupLimitModules) {
    this.#modules = modules;
    this.#limits = new Map(Object.entries(readLimits(modules.file)));
  }

  /**
   * @param limits all of them, as they shall be; none = the group is not bounded any more
   * @throws {HatobaError} invalid-argument; failed-precondition for what the kernel refuses
   */
  async set(group: string, limits: Limit): Promise<void> {
    const { host, groups, cgroupParent, file } = this.#modules;
    const path = groupPathOf(cgroupParent, group);
    checkLimits(limits, host);
    const after = { limits, throttles: readThrottles(limits) };
    if (groups.isInUse(path)) {
      const known = this.#limits.get(group);
      const before = known === undefined ? undefined : toReady(known);
      this.#make(path, limits);
      await applyLimits(path, after, before, this.#modules);
    }
    if (isUnlimited(limits)) this.#limits.delete(group);
    else this.#limits.set(group, limits);
    writeFileSync(`${file}.new`, JSON.stringify(Object.fromEntries(this.#limits)), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  /** Sets a group's limits on its cgroup, making that where it is missing. */
  async apply(group: string): Promise<void> {
    const limits = this.#limits.get(group);
    if (limits === undefined) return;
    const path = groupPathOf(this.#modules.cgroupParent, group);
    this.#make(path, limits);
    await applyLimits(path, toReady(limits), undefined, this.#modules);
  }

  /** The limits of a container as far as its group lets it have them; see boundByGroup. */
  bound({ cgroupGroup, limits }: Pick<ContainerConfig, 'cgroupGroup' | 'limits'>): Limit {
    return boundByGroup(limits, this.#limits.get(cgroupGroup), this.#modules.host.cgroupVersion);
  }

  #make(path: string, limits: Limit): void {
    const writes = planLimitWrites(toReady(limits), undefined, this.#modules.host);
    this.#modules.cgroups.make(
      path,
      writes.map((write) => write.controller),
    );
  }
}

function isUnlimited(limits: Limit): boolean {
  const none = Limit.toJSON(Limit.fromPartial({}));
  return JSON.stringify(Limit.toJSON(limits)) === JSON.stringify(none);
}

function readLimits(file: string): Record<string, Limit> {
  try {
    const kept = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(kept).map(([g, value]) => [g, Limit.fromJSON(value)]));
  } catch (error) {
    // Torn by a power cut, it bounds nobody until it is set again.
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return {};
    throw error;
  }
}
