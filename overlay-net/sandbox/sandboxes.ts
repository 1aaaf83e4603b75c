import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { Mutex } from '../../common/mutex.js';
import type { Namespaces, Netlink } from '../../linux/ports.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { isSandboxLink } from '../core/link-names.js';
import { isSameUnderlay, type Underlay } from '../core/link-plan.js';
import { endpointMac } from '../core/mac.js';
import type { HostPort } from '../core/nft-plan.js';
import { planSandbox, type SandboxLink, type SandboxPort } from '../core/sandbox-plan.js';
import type { Sandbox, SandboxConfig } from '../driver.js';
import { sandboxSysctls } from '../link/host-settings.js';
import type { Client } from '../dns/clients.js';
import { SandboxChecks, type CheckedSandbox } from './sandbox-checks.js';
import { SandboxLinks } from './sandbox-links.js';
import { SandboxStore, type SandboxRecord } from './sandbox-store.js';
import { addressOf } from '../core/ipam.js';

/** So long the kernel may take to end a namespace with its links, when it has many to end. */
const ENDING_MS = 60_000;

export interface SandboxModules {
  netlink: Netlink;
  namespaces: Namespaces;
  clock: Clock;
  logger: Logger;
}

/** The networks as they are on this node, by id. */
export interface Ground {
  networks: ReadonlyMap<string, NetworkConfig>;
  underlay: Underlay;
}

/** The networks whose links may differ between two grounds; objects are compared by identity. */
export function changedNetworks(before: Ground | undefined, after: Ground): Set<string> {
  const isSame =
    before !== undefined && isSameUnderlay(before.underlay, after.underlay)
      ? ([id, network]: [string, NetworkConfig]): boolean => before.networks.get(id) === network
      : () => false;
  return new Set([...after.networks].filter((n) => !isSame(n)).map(([id]) => id));
}

/** The network namespaces of containers, with their links. */
export class Sandboxes {
  readonly #netnsDir: string;
  readonly #store: SandboxStore;
  readonly #modules: SandboxModules;
  /** Links of sandboxes that have no record yet. */
  readonly #making = new Set<string>();
  /** Links of sandboxes that have ended lately, and when. */
  readonly #ending = new Map<string, number>();
  /** Sandboxes that are being removed, by id. */
  readonly #leaving = new Set<string>();
  /** Held while a sandbox is repaired or removed. */
  readonly #repairing = new Mutex();

  constructor(options: { stateDir: string; runDir: string }, modules: SandboxModules) {
    this.#netnsDir = join(options.runDir, 'netns');
    this.#store = new SandboxStore(options.stateDir);
    this.#modules = modules;
    mkdirSync(this.#netnsDir, { recursive: true });
  }

  /**
   * Forgets sandboxes whose namespace is gone (the machine was restarted), and ends namespaces that
   * no record stands for: their making was cut short.
   */
  async clean(): Promise<void> {
    const { namespaces, logger } = this.#modules;
    for (const { config } of this.#store.all()) {
      if (await namespaces.hasNetns(this.path(config.id))) continue;
      logger.info('Forgot a sandbox whose namespace is gone', { sandboxId: config.id });
      this.#store.delete(config.id);
    }
    for (const id of readdirSync(this.#netnsDir)) {
      if (this.#store.get(id) === undefined) await namespaces.dropNetns(this.path(id));
    }
    await this.#adoptLinks();
  }

  path(id: string): string {
    return join(this.#netnsDir, id);
  }

  list(): Sandbox[] {
    return this.#store.all().map((record) => this.#toSandbox(record));
  }

  get(id: string): Sandbox | undefined {
    const record = this.#store.get(id);
    return record === undefined ? undefined : this.#toSandbox(record);
  }

  /** Whether the sandbox is there exactly as asked for. */
  matches(config: SandboxConfig): boolean {
    return JSON.stringify(this.#store.get(config.id)?.config) === JSON.stringify(config);
  }

  hostPorts(): HostPort[] {
    return this.#store
      .all()
      .flatMap(({ config, hostPortAddress: address }) =>
        address === '' ? [] : config.hostPorts.map((port) => ({ ...port, address })),
      );
  }

  /** Every link between a bridge of this node and a sandbox, and what may be sent in by it. */
  ports(): SandboxPort[] {
    return this.#store.all().flatMap(({ config, hostLinks = [] }) =>
      config.attachments.flatMap(({ networkId, address: cidr }, i) => {
        const hostLink = hostLinks[i] ?? '';
        const address = addressOf(cidr);
        return hostLink === '' ? [] : [{ hostLink, networkId, address, mac: endpointMac(address) }];
      }),
    );
  }

  /** The sandbox with that address, as one that asks for names. */
  clientAt(address: string): Client | undefined {
    return this.#store.clients.at(address);
  }

  /** The addresses of a sandbox on its networks; none of one that is not there. */
  addressesOf(id: string): string[] {
    const attachments = this.#store.get(id)?.config.attachments ?? [];
    return attachments.map(({ address }) => addressOf(address));
  }

  /** Makes namespace, links and record; all undone if it throws. */
  async create(config: SandboxConfig, ground: Ground): Promise<Sandbox> {
    const { namespaces } = this.#modules;
    const path = this.path(config.id);
    const links = this.#newLinks(config, ground);
    const plan = planSandbox(config, links, ground.underlay);
    if (config.hostPorts.length > 0 && plan.defaultAddress === '') {
      throw new HatobaError(
        'failed-precondition',
        `sandbox ${config.id} publishes ports but all its networks are internal`,
      );
    }
    await using undo = new DisposableStack();
    undo.defer('dropping the namespace', () => namespaces.dropNetns(path));
    const hostLinks = links.map((l) => l.hostLink);
    for (const name of hostLinks) this.#making.add(name);
    undo.defer('forgetting its links', () => this.#forgetMaking(hostLinks));
    await namespaces.createNetns(path);
    await namespaces.setSysctls(sandboxSysctls(), path);
    await new SandboxLinks(this.#modules).create(plan, path);
    const { nameservers, defaultAddress: hostPortAddress } = plan;
    this.#store.put({ config, nameservers, hostPortAddress, hostLinks });
    this.#forgetMaking(hostLinks);
    undo.move();
    return { id: config.id, netnsPath: path, nameservers, hostPorts: config.hostPorts };
  }

  /** Ends a sandbox; the kernel takes its links along, later and in the background. */
  async remove(id: string): Promise<void> {
    this.#leaving.add(id);
    try {
      await this.#repairing.run(() => this.#modules.namespaces.dropNetns(this.path(id)));
      this.#rememberEnding(this.#store.get(id)?.hostLinks ?? []);
      this.#store.delete(id);
    } finally {
      this.#leaving.delete(id);
    }
  }

  /** Keeps what is there as it was made. */
  checks(ground: () => Ground | undefined): SandboxChecks {
    const plans = (): CheckedSandbox[] => {
      const current = ground();
      return current === undefined ? [] : this.#plans(current);
    };
    const hasLink = (name: string): boolean =>
      this.#making.has(name) ||
      this.#isEnding(name) ||
      this.#store.all().some((r) => r.hostLinks?.includes(name) === true);
    return new SandboxChecks({ plans, hasLink }, { ...this.#modules, mutex: this.#repairing });
  }

  #plans({ networks, underlay }: Ground): CheckedSandbox[] {
    const staying = this.#store.all().filter(({ config }) => !this.#leaving.has(config.id));
    return staying.flatMap(({ config, hostLinks = [] }) => {
      const links = config.attachments.flatMap(({ networkId }, i) => {
        const network = networks.get(networkId);
        const hostLink = hostLinks[i] ?? '';
        return network === undefined || hostLink === '' ? [] : [{ network, hostLink }];
      });
      if (links.length < config.attachments.length) return [];
      const plan = planSandbox(config, links, underlay);
      const networkIds = config.attachments.map((a) => a.networkId);
      return [{ id: config.id, netns: this.path(config.id), networkIds, plan }];
    });
  }

  #rememberEnding(hostLinks: readonly string[]): void {
    for (const name of this.#ending.keys()) if (!this.#isEnding(name)) this.#ending.delete(name);
    for (const name of hostLinks) this.#ending.set(name, this.#modules.clock.nowMs());
  }

  #isEnding(name: string): boolean {
    return this.#modules.clock.nowMs() - (this.#ending.get(name) ?? -Infinity) < ENDING_MS;
  }

  #forgetMaking(hostLinks: readonly string[]): void {
    for (const name of hostLinks) this.#making.delete(name);
  }

  /** Links of a former life that no sandbox has, and names of links that records do not tell. */
  async #adoptLinks(): Promise<void> {
    const { netlink } = this.#modules;
    const host = (await netlink.links()).filter((l) => isSandboxLink(l.name));
    for (const record of this.#store.all().filter((r) => r.hostLinks === undefined)) {
      const inside = await netlink.links(this.path(record.config.id));
      const hostLinks = record.config.attachments.map((_, i) => {
        const inner = inside.find((l) => l.name === `eth${i}`);
        const there = host.find((l) => l.index === inner?.peer)?.name;
        return there ?? this.#vethName(record.config, i);
      });
      this.#store.put({ ...record, hostLinks });
    }
    const known = new Set(this.#store.all().flatMap((r) => r.hostLinks ?? []));
    const strays = host.filter((l) => l.kind === 'veth' && !known.has(l.name));
    await netlink.apply(strays.map(({ name }) => ({ op: 'link-del', name })));
  }

  #newLinks(config: SandboxConfig, { networks }: Ground): SandboxLink[] {
    return config.attachments.map(({ networkId }, i) => {
      const network = networks.get(networkId);
      if (network === undefined) {
        throw new HatobaError(
          'failed-precondition',
          `sandbox ${config.id}: network ${networkId} is not on this node yet`,
        );
      }
      return { network, hostLink: this.#vethName(config, i) };
    });
  }

  /**
   * "hs" and 12 hexadecimal digits: a link's name has 15 characters at most. A namespace of the same
   * id may still be going away, so it is a new name each time.
   */
  #vethName({ id }: SandboxConfig, place: number): string {
    const seed = `${id} ${this.#modules.clock.nowMs()} ${place}`;
    return `hs${createHash('sha256').update(seed).digest('hex').slice(0, 12)}`;
  }

  #toSandbox({ config, nameservers }: SandboxRecord): Sandbox {
    const { id, hostPorts } = config;
    return { id, netnsPath: this.path(id), nameservers, hostPorts };
  }
}
