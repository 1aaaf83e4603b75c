import { HatobaError } from '../../common/errors.js';
import type { Namespaces, Netlink, NetlinkOp } from '../../linux/ports.js';
import {
  diffSandbox,
  EMPTY_VIEW,
  type SandboxChanges,
  type SandboxView,
} from '../core/sandbox-diff.js';
import type { SandboxPlan } from '../core/sandbox-plan.js';
import type { Repair } from '../core/drift.js';
import { withoutIpv6 } from '../link/host-settings.js';

export interface SandboxLinksModules {
  netlink: Netlink;
  namespaces: Namespaces;
}

/** The links of one sandbox as the kernel has them. */
export class SandboxLinks {
  readonly #netlink: Netlink;
  readonly #namespaces: Namespaces;

  constructor({ netlink, namespaces }: SandboxLinksModules) {
    this.#netlink = netlink;
    this.#namespaces = namespaces;
  }

  /** Makes them in a new namespace. */
  async create(plan: SandboxPlan, netns: string): Promise<void> {
    await this.#run(diffSandbox(plan, netns, EMPTY_VIEW), netns);
  }

  /** Whether they differ from the plan. @param host links of the host, where known already */
  async differ(plan: SandboxPlan, netns: string, host?: SandboxView['host']): Promise<boolean> {
    return diffSandbox(plan, netns, await this.#look(netns, host)).repairs.length > 0;
  }

  /**
   * Brings them to the plan.
   * @throws {HatobaError} conflict, when something keeps on changing them
   */
  async repair(plan: SandboxPlan, netns: string): Promise<Repair[]> {
    const repairs: Repair[] = [];
    // a link that was taken out may have lost more than could be seen
    for (let round = 0; round < 3; round++) {
      const changes = diffSandbox(plan, netns, await this.#look(netns));
      if (changes.repairs.length === 0) return repairs;
      repairs.push(...changes.repairs);
      await this.#run(changes, netns);
    }
    throw new HatobaError('conflict', `the links in ${netns} change while they are repaired`);
  }

  async #run({ before, host, inside }: SandboxChanges, netns: string): Promise<void> {
    if (before.length > 0) await this.#netlink.apply(before, netns);
    if (host.length > 0) await this.#netlink.apply(host);
    // as long as the other end is down, nothing has been sent
    for (const link of newLinks(host)) await this.#namespaces.setSysctls(withoutIpv6(link));
    if (inside.length > 0) await this.#netlink.apply(inside, netns);
  }

  async #look(netns: string, known?: SandboxView['host']): Promise<SandboxView> {
    const netlink = this.#netlink;
    const [host, links, addresses, routes] = await Promise.all([
      known ?? netlink.links(),
      netlink.links(netns),
      netlink.addresses(netns),
      netlink.routes(netns),
    ]);
    return { host, inside: { links, addresses, routes } };
  }
}

function newLinks(ops: readonly NetlinkOp[]): string[] {
  return ops.flatMap((op) => (op.op === 'link-add' ? [op.name] : []));
}
