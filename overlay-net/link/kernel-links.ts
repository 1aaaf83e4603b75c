import { describeError } from '../../common/errors.js';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Namespaces, Netlink, NetlinkOp } from '../../linux/ports.js';
import type { Checkable, Repair } from '../core/drift.js';
import { diffLinks, type LinkChanges } from '../core/link-diff.js';
import { compareLinks } from '../core/link-drift.js';
import { observeLinks } from '../core/link-observe.js';
import { isSameUnderlay, planLinks, type LinkPlan, type Underlay } from '../core/link-plan.js';
import { narrow } from '../core/narrow.js';
import type { NetworkState } from '../driver.js';
import { prepareHost } from './host-settings.js';
import { BridgeSettings } from './bridge-settings.js';

const NOTHING: LinkPlan = { links: new Map(), entries: new Map() };
/** A look at everything, also where the kernel tells of no change. */
const LOOK_EVERY_MS = 60_000;
/** A link that is made again has lost what hung on it, which shows at the next look. */
const MAX_ROUNDS = 3;

export interface KernelLinksModules {
  netlink: Netlink;
  namespaces: Namespaces;
  clock: Clock;
  logger: Logger;
}

/** What the kernel was brought to. */
interface Known {
  state: NetworkState;
  underlay: Underlay;
  /** Planned when it is first asked for. */
  plan?: LinkPlan;
}

/**
 * The links of the networks and all that hangs on them.
 * 1. `#known` is what the kernel was brought to by the last success; undefined: must be looked up.
 * 2. Calls do not overlap, but for isSuspect(); the driver sees to it.
 */
export class KernelLinks implements Checkable {
  readonly part = 'links';
  readonly #modules: KernelLinksModules;
  readonly #settings: BridgeSettings;
  #known: Known | undefined;
  #isPrepared = false;
  /** When all was last seen to be as it should; undefined while that is in doubt. */
  #verifiedAtMs: number | undefined;

  constructor(modules: KernelLinksModules) {
    this.#modules = modules;
    this.#settings = new BridgeSettings(modules.namespaces);
  }

  /**
   * Brings the links to `state`. What cannot be done for one network does not keep the rest from
   * being done; the error comes at the end, and the next call begins with a look.
   * @param redirect called between what is added and what is removed, to move the traffic over
   */
  async apply(
    state: NetworkState,
    underlay: Underlay,
    redirect: () => Promise<void>,
  ): Promise<void> {
    const known = this.#known;
    this.#known = undefined;
    const { actual, wanted } = await this.#plans(known, { state, underlay });
    await this.#prepare();
    const changes = diffLinks(actual, wanted);
    this.#report(changes, known === undefined);
    const bridges = newBridges(known === undefined ? NOTHING : actual, wanted);
    const failures = [
      ...(await failureOf(() => this.#run(changes.first))),
      ...(await failureOf(() => this.#settings.set(bridges))),
    ];
    await redirect();
    failures.push(...(await failureOf(() => this.#run(changes.last))));
    if (failures[0] !== undefined) throw failures[0];
    this.#known = { state, underlay };
  }

  /** What is there and what there must be, as far as they may differ. */
  async #plans(
    known: Known | undefined,
    { state, underlay }: Known,
  ): Promise<{ actual: LinkPlan; wanted: LinkPlan }> {
    if (known === undefined) {
      return { actual: await this.#observe(), wanted: planLinks(state, underlay) };
    }
    const parts = isSameUnderlay(known.underlay, underlay)
      ? narrow(known.state, state)
      : { before: known.state, after: state };
    return {
      actual: planLinks(parts.before, known.underlay),
      wanted: planLinks(parts.after, underlay),
    };
  }

  async isSuspect(): Promise<boolean> {
    const known = this.#known;
    if (known === undefined) return false;
    const { netlink, clock } = this.#modules;
    const isDue = clock.nowMs() - (this.#verifiedAtMs ?? 0) >= LOOK_EVERY_MS;
    if ((await netlink.hasChanged()) || isDue) this.#verifiedAtMs = undefined;
    const plan = planOf(known);
    if ((await this.#settings.differing(newBridges(NOTHING, plan))).length > 0) return true;
    if (this.#verifiedAtMs !== undefined) return false;
    if (compareLinks(await this.#observe(), plan).length > 0) return true;
    this.#verifiedAtMs = clock.nowMs();
    return false;
  }

  async repair(): Promise<Repair[]> {
    const known = this.#known;
    if (known === undefined) return [];
    const wanted = planOf(known);
    const repairs = new Map<string, Repair>();
    const note = (found: readonly Repair[]): void => {
      for (const repair of found) repairs.set(`${repair.change} ${repair.what}`, repair);
    };
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const actual = await this.#observe();
      const { first, last } = diffLinks(actual, wanted);
      note(compareLinks(actual, wanted));
      const ofLinks = first.filter(isLinkOp);
      if (ofLinks.length > 0) await this.#run(ofLinks);
      else await this.#run([...first, ...last]);
      note(await this.#settings.repair(newBridges(NOTHING, wanted)));
      if (ofLinks.length === 0) break;
    }
    return [...repairs.values()];
  }

  /** Removes every link of this driver, and with them all that is on them. */
  async removeAll(): Promise<void> {
    const { last } = diffLinks(await this.#observe(), NOTHING);
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
    const [links, addresses, neighbours, fdb, routes] = await Promise.all([
      netlink.links(),
      netlink.addresses(),
      netlink.neighbours(),
      netlink.fdb(),
      netlink.routes(),
    ]);
    return observeLinks({ links, addresses, neighbours, fdb, routes });
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

function planOf(known: Known): LinkPlan {
  return (known.plan ??= planLinks(known.state, known.underlay));
}

/** The bridges of `wanted` that are not in `before`. */
function newBridges(before: LinkPlan, wanted: LinkPlan): string[] {
  return [...wanted.links.values()]
    .filter(({ kind, name }) => kind === 'bridge' && !before.links.has(name))
    .map(({ name }) => name);
}

/** The error of what fails, alone in a list. */
async function failureOf(work: () => Promise<void>): Promise<Error[]> {
  try {
    await work();
    return [];
  } catch (error) {
    return [error instanceof Error ? error : new Error(describeError(error))];
  }
}

function isLinkOp({ op }: NetlinkOp): boolean {
  return op === 'link-add' || op === 'link-set' || op === 'link-del' || op === 'bridge-port';
}
