import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { addressOf, nextAddress, parseCidr } from '../../overlay-net/core/ipam.js';
import type { NetworkDriver, NetworkState } from '../../overlay-net/driver.js';
import type { NetworkConfig, NetworkEndpoint } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { DNSConfig, PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig, Containers, ContainerState } from '../../runtime/engine.js';
import { toSandboxDns } from '../executor/container-dns.js';
import { toHostPort } from '../executor/host-ports.js';
import {
  attachmentOf,
  containerOfSandbox,
  localSandboxId,
  portsOf,
  type Attachment,
} from './attachment.js';
import { BRIDGE } from './bridge-subnet.js';
import { HostPortClaims, type HostPortClaimsModules } from './host-port-claims.js';
import { overlapping, subnetsText } from './network-overlap.js';
import { firstSubnet } from '../../overlay-net/core/subnets.js';

type BridgeAttachment = Extract<Attachment, { mode: 'bridge' }>;

/** What this node's own network adds to those of the cluster. */
export type LocalPart = Pick<NetworkState, 'networks' | 'endpoints'>;

/** How a container is joined to its network. */
export interface Wiring {
  /** As in ContainerConfig. */
  readonly netns: string;
  readonly nameservers: readonly string[];
}

export interface ContainerNetworksModules extends HostPortClaimsModules {
  readonly containers: Pick<Containers, 'list' | 'get'>;
  readonly driver: Pick<NetworkDriver, 'attach' | 'detach' | 'list'>;
  /** The network anew, on a subnet that fits to these networks of the cluster. */
  readonly fitTo: (networks: readonly NetworkConfig[]) => NetworkConfig;
  readonly log: Logger;
}

/**
 * The network "bridge" of this node and who is on it; and how containers of this node alone are
 * joined to whatever network they are on.
 * 1. An address is taken while a container has it in its attachment, running or not.
 * 2. A sandbox, and with it the published ports, is there while its container runs, may run soon
 *    (created, restarting) or is being started.
 * 3. It gives way to the cluster's networks: while nobody is on it by moving elsewhere, else by
 *    letting nobody else on it; then those that overlap it wait.
 */
export class ContainerNetworks {
  readonly ports: HostPortClaims;
  #network: NetworkConfig;
  readonly #nodeId: string;
  readonly #modules: ContainerNetworksModules;
  /** Of containers that are being created. */
  readonly #reserved = new Map<string, BridgeAttachment>();
  #lastAddress: string;
  #overlaps: readonly NetworkConfig[] = [];
  #endpoints = new Map<string, NetworkEndpoint>();

  constructor(
    options: { nodeId: string; network: NetworkConfig },
    modules: ContainerNetworksModules,
  ) {
    this.#network = options.network;
    this.#nodeId = options.nodeId;
    this.#modules = modules;
    this.ports = new HostPortClaims(modules);
    this.#lastAddress = firstSubnet(options.network).gateway;
  }

  get network(): NetworkConfig {
    return this.#network;
  }

  /**
   * The network, fitted to those of the cluster, and the containers on it; what has not changed is
   * the very same object.
   */
  part(cluster: readonly NetworkConfig[]): LocalPart {
    this.#fit(cluster);
    const endpoints = new Map<string, NetworkEndpoint>();
    for (const state of this.#modules.containers.list()) {
      const attachment = attachmentOf(state.config);
      if (attachment?.mode !== 'bridge') continue;
      const endpoint = this.#endpoint(state, attachment);
      const before = this.#endpoints.get(endpoint.taskId);
      const isSame = JSON.stringify(before) === JSON.stringify(endpoint);
      endpoints.set(endpoint.taskId, before !== undefined && isSame ? before : endpoint);
    }
    this.#endpoints = endpoints;
    return { networks: [this.#network], endpoints: [...endpoints.values()] };
  }

  /**
   * An address and ports for a container that is about to be created; `settle` must follow.
   * @throws {HatobaError} resource-exhausted | failed-precondition | invalid-argument
   */
  async reserve(id: string, ports: readonly PortConfig[]): Promise<BridgeAttachment> {
    this.#checkOverlaps();
    const chosen = await this.ports.reserve(id, ports);
    // nothing is awaited from here on: who reserves next sees this one
    const { subnet, gateway } = firstSubnet(this.#network);
    const { prefixLength } = parseCidr(subnet);
    const attachment: BridgeAttachment = {
      mode: 'bridge',
      address: `${this.#freeAddress()}/${prefixLength}`,
      gateway,
      ports: chosen,
    };
    this.#reserved.set(id, attachment);
    return attachment;
  }

  /** The container is there, or will not come. */
  settle(id: string): void {
    this.ports.settle(id);
    this.#reserved.delete(id);
  }

  /**
   * Makes a container's network anew, or finds it there.
   * @throws {HatobaError} failed-precondition when a port has been taken meanwhile
   */
  async attach(id: string, attachment: Attachment, dns: DNSConfig | undefined): Promise<Wiring> {
    if (attachment.mode === 'host') return { netns: 'host', nameservers: [] };
    if (attachment.mode === 'container') {
      return { netns: `container:${attachment.id}`, nameservers: [] };
    }
    const hostPorts = portsOf(attachment).map(toHostPort);
    const attachments = this.#linksOf(attachment);
    const sandbox = await this.ports.take(id, hostPorts, () =>
      this.#modules.driver.attach({
        ...{ id: localSandboxId(id), attachments, hostPorts },
        ...toSandboxDns(dns),
      }),
    );
    return { netns: sandbox.netnsPath, nameservers: sandbox.nameservers };
  }

  /** Gives back its ports; its address stays with the container. Unknown id: success. */
  async detach(id: string): Promise<void> {
    await this.#modules.driver.detach(localSandboxId(id));
  }

  /** Ids of containers of this node alone that have a sandbox, be they there or not. */
  async attached(): Promise<string[]> {
    const sandboxes = await this.#modules.driver.list();
    return sandboxes.map(({ id }) => containerOfSandbox(id)).filter((id) => id !== undefined);
  }

  #linksOf(attachment: Attachment): { networkId: string; address: string }[] {
    const { networkId } = this.#network;
    if (attachment.mode === 'bridge') return [{ networkId, address: attachment.address }];
    if (attachment.mode !== 'cluster') return [];
    return attachment.networks.map(({ networkId, address }) => ({ networkId, address }));
  }

  #endpoint({ config, status }: ContainerState, { address }: BridgeAttachment): NetworkEndpoint {
    const { id, name, spec } = config;
    return {
      networkId: this.#network.networkId,
      taskId: id,
      serviceId: '',
      nodeId: this.#nodeId,
      address: addressOf(address),
      slot: 0,
      aliases: [...new Set([id.slice(0, 12), spec.hostname])].filter((alias) => alias !== ''),
      name,
      ready: status === 'running' || status === 'paused',
    };
  }

  #fit(cluster: readonly NetworkConfig[]): void {
    const { log } = this.#modules;
    const before = this.#overlaps;
    this.#overlaps = overlapping(cluster, this.#network);
    if (this.#overlaps.length === 0) return;
    const { subnet } = firstSubnet(this.#network);
    if (this.#heldAddresses().length === 0) {
      this.#network = this.#modules.fitTo(cluster);
      this.#lastAddress = firstSubnet(this.#network).gateway;
      this.#overlaps = [];
      log.info('Moved the network of this node out of the way', {
        ...{ from: subnet, to: firstSubnet(this.#network).subnet },
      });
    } else if (this.#overlaps.length !== before.length) {
      const networks = this.#overlaps.map(({ name }) => name);
      log.warn('Networks overlap that of the containers of this node', { networks, subnet });
    }
  }

  #checkOverlaps(): void {
    const [other] = this.#overlaps;
    if (other === undefined) return;
    const { name } = this.#network;
    throw new HatobaError(
      'failed-precondition',
      `no further container can join network "${name}": its subnet ${subnetsText(this.#network)} overlaps network "${other.name}" of the cluster (${subnetsText(other)}); it moves elsewhere when the containers on it are removed`,
    );
  }

  /** Without their prefix lengths. */
  #heldAddresses(): string[] {
    const held = this.#modules.containers.list().map(({ config }) => attachmentOf(config));
    return [...held, ...this.#reserved.values()].flatMap((attachment) =>
      attachment?.mode === 'bridge' ? [addressOf(attachment.address)] : [],
    );
  }

  #freeAddress(): string {
    const { subnet, gateway } = firstSubnet(this.#network);
    const used = new Set([gateway, ...this.#heldAddresses()]);
    const address = nextAddress(parseCidr(subnet), used, { from: this.#lastAddress });
    if (address === undefined) {
      throw new HatobaError(
        'resource-exhausted',
        `network "${BRIDGE.name}" has no free address: containers of this node have all of ${subnet}; remove some, or set bridgeSubnet to a larger one`,
      );
    }
    this.#lastAddress = address;
    return address;
  }
}

/** The attachment of a container that is of this node alone. */
export function requireAttachment(config: ContainerConfig): Attachment {
  const attachment = attachmentOf(config);
  if (attachment !== undefined) return attachment;
  throw new HatobaError('internal', `container ${config.id} has no network of this node`);
}
