import { HatobaError } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import { isAddress, nextAddress, parseCidr } from '../../overlay-net/core/ipam.js';
import type { NetworkDriver, NetworkState, Sandbox } from '../../overlay-net/driver.js';
import type { NetworkConfig, NetworkEndpoint } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig, Containers, ContainerState } from '../../runtime/engine.js';
import { toHostPort, type HostPort } from '../executor/host-ports.js';
import { attachmentOf, containerOfSandbox, localSandboxId, type Attachment } from './attachment.js';
import { BRIDGE } from './bridge-subnet.js';
import { checkFree, choosePorts, type PortUse } from './port-use.js';

type BridgeAttachment = Extract<Attachment, { mode: 'bridge' }>;

/** What this node's own network adds to those of the cluster. */
export type LocalPart = Pick<NetworkState, 'networks' | 'endpoints'>;

/** How a container is joined to its network. */
export interface Wiring {
  /** As in ContainerConfig. */
  readonly netns: string;
  readonly nameservers: readonly string[];
}

export interface ContainerNetworksModules {
  readonly containers: Pick<Containers, 'list' | 'get'>;
  readonly driver: Pick<NetworkDriver, 'attach' | 'detach' | 'list'>;
  /** Ports of this host that are neither a container's nor free. */
  readonly otherPorts: () => Promise<PortUse[]>;
  /** IPv4 addresses of this host. */
  readonly ownAddresses: () => ReadonlySet<string>;
  readonly random: Random;
}

/**
 * The network "bridge" of this node and who is on it.
 * 1. An address is taken while a container has it in its attachment, running or not.
 * 2. A sandbox, and with it the published ports, is there while its container runs, may run soon
 *    (created, restarting) or is being started.
 */
export class ContainerNetworks {
  readonly #network: NetworkConfig;
  readonly #nodeId: string;
  readonly #modules: ContainerNetworksModules;
  /** Of containers that are being created. */
  readonly #reserved = new Map<string, BridgeAttachment>();
  #lastAddress: string;
  #endpoints = new Map<string, NetworkEndpoint>();

  constructor(
    options: { nodeId: string; network: NetworkConfig },
    modules: ContainerNetworksModules,
  ) {
    this.#network = options.network;
    this.#nodeId = options.nodeId;
    this.#modules = modules;
    this.#lastAddress = options.network.gateway;
  }

  get network(): NetworkConfig {
    return this.#network;
  }

  /** The network and the containers on it; what has not changed is the very same object. */
  part(): LocalPart {
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
    const wanted = ports.map(toHostPort);
    for (const { hostIp } of wanted) this.#checkHostIp(hostIp);
    const used = wanted.length === 0 ? [] : await this.#portsInUse(id);
    // nothing is awaited from here on: who reserves next sees this one
    const reserved = [...this.#reserved.values()].flatMap((a) =>
      usesOf(a, 'another new container'),
    );
    const startAt = Math.floor(this.#modules.random.next() * 65536);
    const chosen = choosePorts(wanted, [...used, ...reserved], startAt);
    const { prefixLength } = parseCidr(this.#network.subnet);
    const attachment: BridgeAttachment = {
      mode: 'bridge',
      address: `${this.#freeAddress()}/${prefixLength}`,
      gateway: this.#network.gateway,
      ports: ports.map((port, i) => ({
        ...port,
        publishedPort: chosen[i]?.publishedPort ?? port.publishedPort,
      })),
    };
    this.#reserved.set(id, attachment);
    return attachment;
  }

  /** The container is there, or will not come. */
  settle(id: string): void {
    this.#reserved.delete(id);
  }

  /**
   * Makes a container's network anew, or finds it there.
   * @throws {HatobaError} failed-precondition when a port has been taken meanwhile
   */
  async attach(id: string, attachment: Attachment): Promise<Wiring> {
    if (attachment.mode === 'host') return { netns: 'host', nameservers: [] };
    if (attachment.mode === 'container') {
      return { netns: `container:${attachment.id}`, nameservers: [] };
    }
    const isBridge = attachment.mode === 'bridge';
    const hostPorts = isBridge ? attachment.ports.map(toHostPort) : [];
    if (hostPorts.length > 0 && !(await this.#isAttached(id))) {
      const used = await this.#portsInUse(id);
      for (const port of hostPorts) checkFree(port, used);
    }
    const { netnsPath, nameservers } = await this.#modules.driver.attach({
      id: localSandboxId(id),
      attachments: isBridge
        ? [{ networkId: this.#network.networkId, address: attachment.address }]
        : [],
      hostPorts,
    });
    return { netns: netnsPath, nameservers };
  }

  /** Gives back its ports; its address stays with the container. Unknown id: success. */
  async detach(id: string): Promise<void> {
    await this.#modules.driver.detach(localSandboxId(id));
  }

  /**
   * For a task that wants ports of this host for itself.
   * @throws {HatobaError} failed-precondition when a container of this node alone has one
   */
  async checkForTask(ports: readonly HostPort[]): Promise<void> {
    if (ports.length === 0) return;
    const sandboxes = await this.#modules.driver.list();
    const used = this.#usesOf(sandboxes.filter(({ id }) => containerOfSandbox(id) !== undefined));
    for (const port of ports) checkFree(port, used);
  }

  /** Ids of containers of this node alone that have a sandbox, be they there or not. */
  async attached(): Promise<string[]> {
    const sandboxes = await this.#modules.driver.list();
    return sandboxes.map(({ id }) => containerOfSandbox(id)).filter((id) => id !== undefined);
  }

  async #isAttached(id: string): Promise<boolean> {
    return (await this.attached()).includes(id);
  }

  #endpoint({ config, status }: ContainerState, { address }: BridgeAttachment): NetworkEndpoint {
    const { id, name, spec } = config;
    return {
      networkId: this.#network.networkId,
      taskId: id,
      serviceId: '',
      nodeId: this.#nodeId,
      address: address.split('/')[0] ?? '',
      slot: 0,
      aliases: [...new Set([id.slice(0, 12), spec.hostname])].filter((alias) => alias !== ''),
      name,
      ready: status === 'running' || status === 'paused',
    };
  }

  #freeAddress(): string {
    const { subnet, gateway } = this.#network;
    const used = new Set([gateway]);
    const held = this.#modules.containers.list().map(({ config }) => attachmentOf(config));
    for (const attachment of [...held, ...this.#reserved.values()]) {
      if (attachment?.mode === 'bridge') used.add(attachment.address.split('/')[0] ?? '');
    }
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

  /** Ports that others than a container have. */
  async #portsInUse(ownId: string): Promise<PortUse[]> {
    const { driver, otherPorts } = this.#modules;
    const [others, sandboxes] = await Promise.all([otherPorts(), driver.list()]);
    return [...this.#usesOf(sandboxes.filter(({ id }) => id !== localSandboxId(ownId))), ...others];
  }

  #usesOf(sandboxes: readonly Sandbox[]): PortUse[] {
    return sandboxes.flatMap(({ id, hostPorts }) =>
      hostPorts.map(({ protocol, hostIp, publishedPort: port }) => {
        return { protocol, hostIp, port, holder: this.#holder(id) };
      }),
    );
  }

  #holder(sandboxId: string): string {
    const id = containerOfSandbox(sandboxId) ?? sandboxId;
    return `container "${this.#modules.containers.get(id)?.config.name ?? id}"`;
  }

  #checkHostIp(hostIp: string): void {
    if (hostIp === '' || hostIp === '0.0.0.0' || hostIp.startsWith('127.')) return;
    if (!isAddress(hostIp)) {
      throw new HatobaError(
        'invalid-argument',
        `ports are published on IPv4 addresses of this host: "${hostIp}" is none`,
      );
    }
    if (this.#modules.ownAddresses().has(hostIp)) return;
    throw new HatobaError(
      'failed-precondition',
      `a port cannot be published on ${hostIp}: this host does not have that address`,
    );
  }
}

/** The attachment of a container that is of this node alone. */
export function requireAttachment(config: ContainerConfig): Attachment {
  const attachment = attachmentOf(config);
  if (attachment !== undefined) return attachment;
  throw new HatobaError('internal', `container ${config.id} has no network of this node`);
}

function usesOf({ ports }: BridgeAttachment, holder: string): PortUse[] {
  return ports.map(toHostPort).map(({ protocol, hostIp, publishedPort }) => {
    return { protocol, hostIp, port: publishedPort, holder };
  });
}
