import { join } from 'node:path';
import type { Logger } from '../../common/logger.js';
import type { Namespaces, Netlink, NetlinkOp } from '../../linux/ports.js';
import type { NetworkState } from '../driver.js';
import { diffLinks, tunnelPortOp, type LinkChanges } from '../core/link-diff.js';
import { observeLinks } from '../core/link-observe.js';
import { planLinks, type LinkPlan, type Underlay } from '../core/link-plan.js';
import { narrow } from '../core/narrow.js';
import { readJson, writeJson } from '../json-file.js';
import { bridgeSysctls, prepareHost } from './host-settings.js';

const NOTHING: LinkPlan = { links: new Map(), entries: new Map() };

export interface KernelLinksModules {
  netlink: Netlink;
  namespaces: Namespaces;
  logger: Logger;
}

/**
 * The links of the networks and all that hangs on them.
 * 1. `#known` is what the kernel was brought to by the last success; undefined: must be looked up.
 * 2. Calls do not overlap; the driver sees to it.
 */
export class KernelLinks {
  readonly #tunnelFile: string;
  readonly #modules: KernelLinksModules;
  #known: { state: NetworkState; underlay: Underlay } | undefined;
  #isPrepared = false;

  constructor(options: { stateDir: string }, modules: KernelLinksModules) {
    this.#tunnelFile = join(options.stateDir, 'tunnels.json');
    this.#modules = modules;
  }

  /** What the kernel holds is no longer known: the next change begins with a look. */
  forget(): void {
    this.#known = undefined;
  }

  /**
   * Brings the links to `state`.
   * @param redirect called between what is added and what is removed, to move the traffic over
   */
  async apply(
    state: NetworkState,
    underlay: Underlay,
    redirect: () => Promise<void>,
  ): Promise<void> {
    const known = this.#known;
    this.#known = undefined;
    const isResumed = known === undefined;
    const isSameUnderlay = JSON.stringify(known?.underlay) === JSON.stringify(underlay);
    const parts = known !== undefined && isSameUnderlay ? narrow(known.state, state) : undefined;
    const wanted = planLinks(parts?.after ?? state, underlay);
    const actual = isResumed
      ? await this.#observe()
      : planLinks(parts?.before ?? known.state, known.underlay);
    await this.#prepare();
    const changes = diffLinks(actual, wanted, underlay, {
      recreateTunnels: !isSameUnderlay && !this.#hasTunnelsOf(underlay, actual),
    });
    if (isResumed) changes.first.push(...resumeOps(wanted));
    this.#report(changes, isResumed);
    await this.#run(changes.first);
    if (!isSameUnderlay) {
      writeJsonIfChanged(this.#tunnelFile, { address: underlay.address, port: underlay.port });
    }
    await this.#setBridges(isResumed ? NOTHING : actual, wanted);
    await redirect();
    await this.#run(changes.last);
    this.#known = { state, underlay };
  }

  /** Removes every link, rule and route of this driver. */
  async removeAll(): Promise<void> {
    const underlay: Underlay = { address: '', mtuBytes: 0, port: 0 };
    const { last } = diffLinks(await this.#observe(), NOTHING, underlay);
    await this.#run(last);
    this.#known = undefined;
  }

  async #prepare(): Promise<void> {
    if (this.#isPrepared) return;
    await prepareHost(this.#modules.namespaces);
    this.#isPrepared = true;
  }

  async #observe(): Promise<LinkPlan> {
    const { netlink } = this.#modules;
    const [links, addresses, neighbours, fdb, routes, rules] = await Promise.all([
      netlink.links(),
      netlink.addresses(),
      netlink.neighbours(),
      netlink.fdb(),
      netlink.routes(),
      netlink.rules(),
    ]);
    return observeLinks({ links, addresses, neighbours, fdb, routes, rules });
  }

  /** The kernel's list of links does not tell the ends of a tunnel, so they are written down. */
  #hasTunnelsOf(underlay: Underlay, actual: LinkPlan): boolean {
    if (![...actual.links.values()].some((l) => l.kind === 'vxlan')) return true;
    const { address, port } = underlay;
    return JSON.stringify(readJson(this.#tunnelFile)) === JSON.stringify({ address, port });
  }

  async #setBridges(before: LinkPlan, wanted: LinkPlan): Promise<void> {
    const settings: Record<string, string> = {};
    for (const { kind, name } of wanted.links.values()) {
      if (kind === 'bridge' && !before.links.has(name))
        Object.assign(settings, bridgeSysctls(name));
    }
    if (Object.keys(settings).length > 0) await this.#modules.namespaces.setSysctls(settings);
  }

  async #run(ops: readonly NetlinkOp[]): Promise<void> {
    if (ops.length > 0) await this.#modules.netlink.apply(ops);
  }

  #report({ first, last }: LinkChanges, isResumed: boolean): void {
    if (first.length === 0 && last.length === 0) return;
    const counts = { changed: first.length, removed: last.length, isResumed };
    this.#modules.logger.debug('Changed links', counts);
  }
}

/** What a look at the kernel does not show is set again. */
function resumeOps(wanted: LinkPlan): NetlinkOp[] {
  return [...wanted.links.values()]
    .filter((l) => l.kind === 'vxlan')
    .map((l) => tunnelPortOp(l.name));
}

function writeJsonIfChanged(path: string, value: unknown): void {
  if (JSON.stringify(readJson(path)) !== JSON.stringify(value)) writeJson(path, value);
}
