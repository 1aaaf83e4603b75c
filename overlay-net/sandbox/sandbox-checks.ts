import type { Mutex } from '../../common/mutex.js';
import type { Logger } from '../../common/logger.js';
import type { LinkInfo } from '../../linux/ports.js';
import type { Checkable, Repair } from '../core/drift.js';
import { isSandboxLink } from '../core/link-names.js';
import type { SandboxPlan } from '../core/sandbox-plan.js';
import { SandboxLinks, type SandboxLinksModules } from './sandbox-links.js';

/** What a sandbox must have. */
export interface CheckedSandbox {
  id: string;
  netns: string;
  networkIds: readonly string[];
  plan: SandboxPlan;
}

/** The sandboxes, as far as they are checked. */
export interface CheckedSandboxes {
  /** None of those whose networks are not on this node. */
  plans(): CheckedSandbox[];
  /** Whether a link of the host is a sandbox's, also of one that is being made or has just ended. */
  hasLink(name: string): boolean;
}

export interface SandboxChecksModules extends SandboxLinksModules {
  logger: Logger;
  /** Held while a sandbox is repaired, and while one is removed. */
  mutex: Mutex;
}

/**
 * Keeps the links of live sandboxes as they were made. Links that belong to no sandbox are removed
 * when they have been seen twice: what ends with its namespace goes by itself.
 */
export class SandboxChecks implements Checkable {
  readonly part = 'sandboxes';
  readonly #sandboxes: CheckedSandboxes;
  readonly #links: SandboxLinks;
  readonly #modules: SandboxChecksModules;
  #suspects: readonly string[] = [];
  #strays: ReadonlySet<string> = new Set();

  constructor(sandboxes: CheckedSandboxes, modules: SandboxChecksModules) {
    this.#sandboxes = sandboxes;
    this.#links = new SandboxLinks(modules);
    this.#modules = modules;
  }

  async isSuspect(): Promise<boolean> {
    const host = await this.#modules.netlink.links();
    const suspects: string[] = [];
    for (const { id, netns, plan } of this.#sandboxes.plans()) {
      const isDifferent = await this.#try(id, () => this.#links.differ(plan, netns, host));
      if (isDifferent === true) suspects.push(id);
    }
    this.#suspects = suspects;
    return suspects.length > 0 || this.#findStrays(host).length > 0;
  }

  async repair(): Promise<Repair[]> {
    const repairs = await this.#removeStrays();
    for (const id of this.#suspects) {
      const found = await this.#repairOne(id);
      repairs.push(...found.map((r) => ({ ...r, what: `sandbox ${id}: ${r.what}` })));
    }
    return repairs;
  }

  /** Brings the links to what these networks have become: nobody else's doing. */
  async follow(networkIds: ReadonlySet<string>): Promise<void> {
    const isOn = (sandbox: CheckedSandbox): boolean =>
      sandbox.networkIds.some((id) => networkIds.has(id));
    for (const { id } of this.#sandboxes.plans().filter(isOn)) await this.#repairOne(id);
  }

  async #repairOne(id: string): Promise<Repair[]> {
    return await this.#modules.mutex.run(async () => {
      // one that was removed meanwhile has no plan any more
      const current = this.#sandboxes.plans().find((p) => p.id === id);
      if (current === undefined) return [];
      return (await this.#try(id, () => this.#links.repair(current.plan, current.netns))) ?? [];
    });
  }

  /** Strays of the look before that are still there. */
  #findStrays(host: readonly LinkInfo[]): string[] {
    const now = host
      .filter(({ kind, name }) => kind === 'veth' && isSandboxLink(name))
      .map(({ name }) => name)
      .filter((name) => !this.#sandboxes.hasLink(name));
    const before = this.#strays;
    this.#strays = new Set(now);
    return now.filter((name) => before.has(name));
  }

  async #removeStrays(): Promise<Repair[]> {
    const { netlink } = this.#modules;
    const before = new Set(this.#strays);
    const strays = this.#findStrays(await netlink.links()).filter((name) => before.has(name));
    await netlink.apply(strays.map((name) => ({ op: 'link-del', name })));
    return strays.map((name) => ({ change: 'removed', what: `link ${name} of no sandbox` }));
  }

  /** What fails for one sandbox must not keep the others from being checked. */
  async #try<T>(id: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const isThere = this.#sandboxes.plans().some((p) => p.id === id);
      if (!isThere) return undefined;
      this.#modules.logger.warn('Could not check or repair a sandbox', { sandboxId: id }, error);
      return undefined;
    }
  }
}
