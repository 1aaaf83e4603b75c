import { HatobaError } from '../../common/errors.js';
import { Mutex } from '../../common/mutex.js';
import type { Random } from '../../common/random.js';
import { isAddress } from '../../overlay-net/core/ipam.js';
import type { NetworkDriver, Sandbox } from '../../overlay-net/driver.js';
import type { PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { Containers } from '../../runtime/engine.js';
import { toHostPort, type HostPort } from '../executor/host-ports.js';
import { containerOfSandbox, localSandboxId } from './attachment.js';
import { checkFree, choosePorts, type PortUse } from './port-use.js';

export interface HostPortClaimsModules {
  readonly containers: Pick<Containers, 'get'>;
  readonly driver: Pick<NetworkDriver, 'list'>;
  /** Ports of this host that are neither a container's nor free. */
  readonly otherPorts: () => Promise<PortUse[]>;
  /** IPv4 addresses of this host. */
  readonly ownAddresses: () => ReadonlySet<string>;
  readonly random: Random;
}

/**
 * Who has the ports of this host. They are looked at and taken one after the other, so that nobody
 * else has a port by the time that it is taken.
 */
export class HostPortClaims {
  readonly #modules: HostPortClaimsModules;
  readonly #mutex = new Mutex();
  /** Of containers that are being created. */
  readonly #reserved = new Map<string, readonly PortUse[]>();

  constructor(modules: HostPortClaimsModules) {
    this.#modules = modules;
  }

  /**
   * Ports for a container that is about to be created, those left open filled in; `settle` must
   * follow.
   * @throws {HatobaError} failed-precondition | invalid-argument
   */
  async reserve(id: string, ports: readonly PortConfig[]): Promise<PortConfig[]> {
    if (ports.length === 0) return [];
    const wanted = ports.map(toHostPort);
    for (const { hostIp } of wanted) this.#checkHostIp(hostIp);
    const used = await this.#inUse(id);
    // nothing is awaited from here on: who reserves next sees this one
    const startAt = Math.floor(this.#modules.random.next() * 65536);
    const chosen = choosePorts(wanted, [...used, ...[...this.#reserved.values()].flat()], startAt);
    this.#reserved.set(
      id,
      chosen.map(({ protocol, hostIp, publishedPort: port }) => {
        return { protocol, hostIp, port, holder: 'another new container' };
      }),
    );
    return ports.map((port, i) => ({
      ...port,
      publishedPort: chosen[i]?.publishedPort ?? port.publishedPort,
    }));
  }

  /** The container is there, or will not come. */
  settle(id: string): void {
    this.#reserved.delete(id);
  }

  /** Those that others than this container have. */
  async #inUse(containerId: string): Promise<PortUse[]> {
    const { driver, otherPorts } = this.#modules;
    const [others, sandboxes] = await Promise.all([otherPorts(), driver.list()]);
    const ownId = localSandboxId(containerId);
    return [...this.#usesOf(sandboxes.filter(({ id }) => id !== ownId)), ...others];
  }

  /**
   * Has `attach` take ports for a container of this node alone.
   * @throws {HatobaError} failed-precondition when somebody has one; not where they are its own
   */
  async take<T>(containerId: string, ports: readonly HostPort[], attach: () => Promise<T>) {
    return await this.#takeChecked<T>(ports, attach, async () => {
      const sandboxes = await this.#modules.driver.list();
      const isAttached = sandboxes.some(({ id }) => id === localSandboxId(containerId));
      return isAttached ? [] : await this.#inUse(containerId);
    });
  }

  /**
   * The same for a task; among tasks the cluster decides.
   * @throws {HatobaError} failed-precondition when a container of this node alone has one
   */
  async takeForTask<T>(ports: readonly HostPort[], attach: () => Promise<T>) {
    return await this.#takeChecked<T>(ports, attach, () => this.ofContainers());
  }

  /** Those that lead to containers of this node alone. */
  async ofContainers(): Promise<PortUse[]> {
    const sandboxes = await this.#modules.driver.list();
    return this.#usesOf(sandboxes.filter(({ id }) => containerOfSandbox(id) !== undefined));
  }

  /** Those that lead to tasks. */
  async ofTasks(): Promise<PortUse[]> {
    const sandboxes = await this.#modules.driver.list();
    return this.#usesOf(sandboxes.filter(({ id }) => containerOfSandbox(id) === undefined));
  }

  async #takeChecked<T>(
    ports: readonly HostPort[],
    attach: () => Promise<T>,
    usedByOthers: () => Promise<PortUse[]>,
  ): Promise<T> {
    if (ports.length === 0) return await attach();
    return await this.#mutex.run(async () => {
      const used = await usedByOthers();
      for (const port of ports) checkFree(port, used);
      return await attach();
    });
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
}
