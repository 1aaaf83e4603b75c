import { HatobaError } from '../../common/errors.js';
import type { Netlink } from '../../linux/ports.js';
import { diffSandbox, EMPTY_VIEW, type SandboxView } from '../core/sandbox-diff.js';
import type { SandboxPlan } from '../core/sandbox-plan.js';
import type { Repair } from '../core/drift.js';

/** The links of one sandbox as the kernel has them. */
export class SandboxLinks {
  readonly #netlink: Netlink;

  constructor(netlink: Netlink) {
    this.#netlink = netlink;
  }

  /** Makes them in a new namespace. */
  async create(plan: SandboxPlan, netns: string): Promise<void> {
    const { host, inside } = diffSandbox(plan, netns, EMPTY_VIEW);
    await this.#netlink.apply(host);
    await this.#netlink.apply(inside, netns);
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
      await this.#netlink.apply(changes.before, netns);
      await this.#netlink.apply(changes.host);
      await this.#netlink.apply(changes.inside, netns);
    }
    throw new HatobaError('conflict', `the links in ${netns} change while they are repaired`);
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
