import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { DisposableStack } from '../../common/disposable.js';
import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Namespaces, Netlink } from '../../linux/ports.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { Underlay } from '../core/link-plan.js';
import { endpointMac } from '../core/mac.js';
import type { HostPort } from '../core/nft-plan.js';
import { planSandbox, type SandboxLink, type SandboxPort } from '../core/sandbox-plan.js';
import type { Sandbox, SandboxConfig } from '../driver.js';
import { sandboxSysctls } from '../link/host-settings.js';
import type { Client } from '../dns/clients.js';
import { SandboxStore, type SandboxRecord } from './sandbox-store.js';

export interface SandboxModules {
  netlink: Netlink;
  namespaces: Namespaces;
  clock: Clock;
  logger: Logger;
}

/** The networks as they are on this node. */
export interface Ground {
  networks: ReadonlyMap<string, NetworkConfig>;
  underlay: Underlay;
}

/** The network namespaces of containers, with their links. */
export class Sandboxes {
  readonly #netnsDir: string;
  readonly #store: SandboxStore;
  readonly #modules: SandboxModules;

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
        const address = cidr.split('/')[0] ?? '';
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
    return attachments.map(({ address }) => address.split('/')[0] ?? '');
  }

  /** Makes namespace, links and record; all undone if it throws. */
  async create(config: SandboxConfig, ground: Ground): Promise<Sandbox> {
    const { netlink, namespaces } = this.#modules;
    const path = this.path(config.id);
    const links = this.#links(config, ground);
    const plan = planSandbox(config, path, links, ground.underlay);
    if (config.hostPorts.length > 0 && plan.defaultAddress === '') {
      throw new HatobaError(
        'failed-precondition',
        `sandbox ${config.id} publishes ports but all its networks are internal`,
      );
    }
    await using undo = new DisposableStack();
    undo.defer('dropping the namespace', () => namespaces.dropNetns(path));
    await namespaces.createNetns(path);
    await namespaces.setSysctls(sandboxSysctls(), path);
    await netlink.apply(plan.host);
    await netlink.apply(plan.inside, path);
    const { nameservers, defaultAddress: hostPortAddress } = plan;
    const hostLinks = links.map((l) => l.hostLink);
    this.#store.put({ config, nameservers, hostPortAddress, hostLinks });
    undo.move();
    return { id: config.id, netnsPath: path, nameservers, hostPorts: config.hostPorts };
  }

  /** Ends a sandbox; the kernel takes its links along, later and in the background. */
  async remove(id: string): Promise<void> {
    await this.#modules.namespaces.dropNetns(this.path(id));
    this.#store.delete(id);
  }

  #links(config: SandboxConfig, { networks }: Ground): SandboxLink[] {
    // a namespace of the same id may still be going away, so the name must be a new one
    const salt = `${config.id} ${this.#modules.clock.nowMs()}`;
    return config.attachments.map(({ networkId }, i) => {
      const network = networks.get(networkId);
      if (network === undefined) {
        throw new HatobaError(
          'failed-precondition',
          `sandbox ${config.id}: network ${networkId} is not on this node yet`,
        );
      }
      return { network, hostLink: vethName(`${salt} ${i}`) };
    });
  }

  #toSandbox({ config, nameservers }: SandboxRecord): Sandbox {
    const { id, hostPorts } = config;
    return { id, netnsPath: this.path(id), nameservers, hostPorts };
  }
}

/** "hs" and 12 hexadecimal digits: a link's name has 15 characters at most. */
function vethName(seed: string): string {
  return `hs${createHash('sha256').update(seed).digest('hex').slice(0, 12)}`;
}
