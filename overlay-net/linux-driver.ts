import type { Clock } from '../common/clock.js';
import { DisposableStack } from '../common/disposable.js';
import { HatobaError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import type { Kernel } from '../linux/ports.js';
import { Flows } from './conntrack/flows.js';
import { checkSandbox, checkState } from './core/check-state.js';
import {
  dataPathAddress,
  isSameUnderlay,
  linkedNetworks,
  type Underlay,
} from './core/link-plan.js';
import type { Checkable, Repair } from './core/drift.js';
import { narrow } from './core/narrow.js';
import { DriftChecker } from './drift/drift-checker.js';
import { gatewaysOf } from './core/subnets.js';
import { NameService } from './dns/name-service.js';
import type { Client } from './dns/clients.js';
import type { NetworkDriver, NetworkState, Sandbox, SandboxConfig } from './driver.js';
import { ForwardPolicy } from './firewall/forward-policy.js';
import { LegacyTables } from './firewall/legacy-tables.js';
import { NftTables } from './firewall/nft-tables.js';
import { NftTable } from './lb/nft-table.js';
import { KernelLinks } from './link/kernel-links.js';
import { detectUnderlay } from './link/underlay.js';
import { Mutex } from '../common/mutex.js';
import type { SandboxChecks } from './sandbox/sandbox-checks.js';
import { changedNetworks, Sandboxes, type Ground } from './sandbox/sandboxes.js';

export interface NetworkDriverOptions {
  /** What survives a restart of the machine; of this driver alone. */
  stateDir: string;
  /** Namespace files are in runDir/netns, which is of this driver alone. */
  runDir: string;
  /** Resolvers for names that are not ours; those of /etc/resolv.conf, as of now. */
  upstreams?: readonly string[];
  /** Whether tables of others that refuse to forward get rules that let the networks pass; auto. */
  forwardRules?: 'auto' | 'off';
}

export interface NetworkDriverModules {
  kernel: Pick<Kernel, 'netlink' | 'namespaces' | 'nftables' | 'conntrack'>;
  clock: Clock;
  logger: Logger;
}

/**
 * The networks of the machine (or network namespace) that this process runs in. Taking over from a
 * former process changes nothing until the first apply().
 */
export async function openNetworkDriver(
  options: NetworkDriverOptions,
  modules: NetworkDriverModules,
): Promise<NetworkDriver> {
  const driver = new LinuxNetworkDriver(options, modules);
  await driver.start();
  return driver;
}

/**
 * 1. Everything that changes the host's links and tables runs under `#mutex`; sandboxes are made
 *    beside it, as they touch only what is theirs.
 * 2. `#applied` is the last state whose links are there; sandboxes and names stand on it.
 */
class LinuxNetworkDriver implements NetworkDriver {
  readonly #modules: NetworkDriverModules;
  readonly #links: KernelLinks;
  readonly #table: NftTable;
  readonly #forward: ForwardPolicy;
  readonly #sandboxes: Sandboxes;
  readonly #flows: Flows;
  readonly #names: NameService;
  readonly #sandboxChecks: SandboxChecks;
  readonly #drift: DriftChecker;
  readonly #mutex = new Mutex();
  /** The last state that was found valid: of the next one, only what differs is looked at. */
  #checked = emptyState();
  #next: { state: NetworkState; done: Promise<void> } | undefined;
  /** A change of the tables for sandboxes that has not begun. */
  #tableTurn: Promise<void> | undefined;
  #applied: (Ground & { state: NetworkState }) | undefined;
  /** What the links of sandboxes were brought to. */
  #followed: Ground | undefined;
  /** The last state that was to be applied, and whether all of it is in force. */
  #wanted = emptyState();
  #isWhole = true;

  constructor(options: NetworkDriverOptions, modules: NetworkDriverModules) {
    const { kernel, clock, logger } = modules;
    const parts = { netlink: kernel.netlink, namespaces: kernel.namespaces, clock, logger };
    this.#modules = modules;
    this.#links = new KernelLinks(parts);
    this.#table = new NftTable({ nftables: kernel.nftables, logger });
    const foreign = [new NftTables(kernel.nftables), new LegacyTables()];
    this.#forward = new ForwardPolicy(options.forwardRules === 'off' ? [] : foreign, { logger });
    this.#sandboxes = new Sandboxes(options, parts);
    this.#sandboxChecks = this.#sandboxes.checks(() => this.#applied);
    this.#drift = new DriftChecker(
      [this.#wholeState(), this.#links, this.#table.checks(), this.#forward, this.#sandboxChecks],
      { clock, logger, mutex: this.#mutex },
    );
    const picksOfUdp = (): Promise<string> => this.#table.picksOfUdp();
    this.#flows = new Flows({ conntrack: kernel.conntrack, picksOfUdp, clock, logger });
    const containerAt = (address: string): Client | undefined => this.#sandboxes.clientAt(address);
    this.#names = new NameService(options, { clock, logger, containerAt });
  }

  async start(): Promise<void> {
    await this.#sandboxes.clean();
    this.#drift.start();
  }

  checkDrift(): Promise<void> {
    return this.#drift.check();
  }

  async apply(state: NetworkState): Promise<void> {
    checkState(narrow(this.#checked, state).after);
    this.#checked = state;
    if (this.#next === undefined) {
      const done = this.#mutex.run(() => {
        const newest = this.#next?.state ?? state;
        this.#next = undefined;
        return this.#applyNow(newest);
      });
      this.#next = { state, done };
    }
    // takes the place of one that waits: it is superseded, and done when this one is
    this.#next.state = state;
    await this.#next.done;
  }

  async attach(config: SandboxConfig): Promise<Sandbox> {
    checkSandbox(config);
    const existing = this.#sandboxes.get(config.id);
    if (existing !== undefined && this.#sandboxes.matches(config)) return existing;
    await this.detach(config.id);
    if (this.#applied === undefined) {
      throw new HatobaError(
        'failed-precondition',
        `sandbox ${config.id}: this node has no networks yet`,
      );
    }
    const sandbox = await this.#sandboxes.create(config, this.#applied);
    await using undo = new DisposableStack();
    undo.defer('removing the sandbox', () => this.#sandboxes.remove(config.id));
    await this.#flows.settle(this.#sandboxes.addressesOf(config.id));
    await this.#followSandboxes();
    undo.move();
    return sandbox;
  }

  async detach(id: string): Promise<void> {
    if (this.#sandboxes.get(id) === undefined) return;
    const addresses = this.#sandboxes.addressesOf(id);
    await this.#sandboxes.remove(id);
    try {
      await this.#followSandboxes();
    } finally {
      this.#flows.cut(addresses);
    }
  }

  openConnections(addresses: readonly string[]): Promise<number> {
    return this.#flows.countOpen(addresses);
  }

  leavingDone(): Promise<void> {
    return this.#flows.leavingDone();
  }

  async endStaleConnections(): Promise<void> {
    const state = this.#applied?.state;
    if (state === undefined) return;
    const sandboxes = this.#sandboxes.list().flatMap(({ id }) => this.#sandboxes.addressesOf(id));
    await this.#flows.clean(state, sandboxes);
  }

  list(): Promise<Sandbox[]> {
    return Promise.resolve(this.#sandboxes.list());
  }

  async teardown(): Promise<void> {
    await this.#mutex.run(async () => {
      this.#applied = undefined;
      await using steps = new DisposableStack();
      steps.defer('removing the links', () => this.#links.removeAll());
      steps.defer('removing rules of the forward policy', () => this.#forward.remove());
      steps.defer('removing the nftables table', () => this.#table.remove());
      for (const { id } of this.#sandboxes.list()) {
        steps.defer(`removing sandbox ${id}`, () => this.#sandboxes.remove(id));
      }
      steps.defer('closing DNS', () => this.#names.listenAt(new Set()));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#drift[Symbol.asyncDispose]();
    await this.#mutex.run(() => this.#names[Symbol.asyncDispose]());
    await this.#flows.cutsDone();
  }

  async #applyNow(state: NetworkState): Promise<void> {
    this.#wanted = state;
    this.#isWhole = false;
    const handedOver = this.#flows.handedOver(state);
    if (handedOver.size > 0) {
      const endpoints = state.endpoints.filter((e) => !handedOver.has(e.address));
      await this.#lead({ ...state, endpoints });
    }
    await this.#flows.settleFor(state);
    await this.#lead(state);
    this.#isWhole = true;
  }

  /** Brings links, tables and names to a state. */
  async #lead(state: NetworkState): Promise<void> {
    const underlay = await this.#underlay(dataPathAddress(state));
    const networks = new Map(linkedNetworks(state).map((n) => [n.networkId, n]));
    await this.#links.apply(state, underlay, async () => {
      this.#applied = { state, networks, underlay };
      this.#names.update(state);
      await this.#applyTable();
      await this.#forward.start();
      this.#flows.follow(state);
      await this.#names.listenAt(new Set([...networks.values()].flatMap(gatewaysOf)));
      await this.#followGround({ networks, underlay });
    });
  }

  /** Links of sandboxes have the MTU and the bridge of their networks. */
  async #followGround(ground: Ground): Promise<void> {
    const changed = changedNetworks(this.#followed, ground);
    this.#followed = ground;
    if (changed.size > 0) await this.#sandboxChecks.follow(changed);
  }

  /** Detected once per address, and again with every check. */
  async #underlay(address: string): Promise<Underlay> {
    const known = this.#applied?.underlay;
    if (known?.address === address) return known;
    return await this.#detectUnderlay(address);
  }

  async #detectUnderlay(address: string): Promise<Underlay> {
    if (address === '') return { address, mtuBytes: 0 }; // no network here has tunnels
    return await detectUnderlay(this.#modules.kernel.netlink, address);
  }

  /** The tables as sandboxes are by then: those that come and go meanwhile share one change. */
  #followSandboxes(): Promise<void> {
    this.#tableTurn ??= this.#mutex.run(() => {
      this.#tableTurn = undefined;
      return this.#applyTable();
    });
    return this.#tableTurn;
  }

  async #applyTable(): Promise<void> {
    if (this.#applied === undefined) return;
    const { state, underlay } = this.#applied;
    const input = {
      state,
      hostPorts: this.#sandboxes.hostPorts(),
      ports: this.#sandboxes.ports(),
      underlayAddress: underlay.address,
    };
    try {
      await this.#table.apply(input);
    } catch (error) {
      this.#isWhole = false; // also when a sandbox was the reason: the next check tries again
      throw error;
    }
  }

  /** What concerns all parts: the last state was not applied to its end, or the underlay is another. */
  #wholeState(): Checkable {
    const underlayNow = async (): Promise<Underlay | undefined> =>
      this.#applied && (await this.#detectUnderlay(this.#applied.underlay.address));
    const isSame = (now: Underlay): boolean =>
      this.#applied !== undefined && isSameUnderlay(now, this.#applied.underlay);
    return {
      part: 'networks',
      isSuspect: async () => {
        const now = await underlayNow();
        return now !== undefined && !(this.#isWhole && isSame(now));
      },
      repair: async () => {
        const now = await underlayNow();
        if (now === undefined || this.#applied === undefined) return [];
        if (this.#isWhole && isSame(now)) return []; // it was being applied
        const what = `MTU of the underlay ${now.mtuBytes}`;
        const repairs: Repair[] = isSame(now) ? [] : [{ change: 'changed', what }];
        this.#applied = { ...this.#applied, underlay: now };
        await this.#applyNow(this.#wanted);
        return repairs;
      },
    };
  }
}

function emptyState(): NetworkState {
  return { nodeId: '', networks: [], endpoints: [], services: [], peers: [] };
}
