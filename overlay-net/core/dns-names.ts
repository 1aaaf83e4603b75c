import { shortId } from '../../common/model/ids.js';
import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import { subnetAround } from './subnets.js';

/** What the names of a node's networks lead to. */
export type ZoneAnswer =
  /** The addresses behind a name; none: the name exists and nothing of it is ready. */
  | { kind: 'addresses'; addresses: readonly string[] }
  /** The name of an address. */
  | { kind: 'name'; name: string }
  /** It could only be ours, and there is no such name. */
  | { kind: 'absent' }
  /** Not ours: for other resolvers. */
  | { kind: 'foreign' };

const ABSENT: ZoneAnswer = { kind: 'absent' };
const TASKS = 'tasks.';
const SLOT = /^(\d+)\.(.+)$/;

/**
 * The names of one network, kept up with every endpoint and service that comes and goes, so that a
 * change costs what it changes. A name leads to ready tasks only:
 * - a service and its aliases: the virtual address, or every task where there is none
 * - `tasks.<service>`: every task; `<slot>.<service>`: the task of that slot
 * - a task or container by name, id (whole, or its first 12 digits) and aliases; a service of the
 *   same name goes first
 * - all of these followed by `.<network>`
 * Names are in small letters and without the final dot.
 */
export class NetworkNames {
  readonly network: NetworkConfig;
  readonly #suffix: string;
  readonly #services = new Index<NetworkService>();
  readonly #endpoints = new Index<NetworkEndpoint>();
  /** By service id. */
  readonly #tasks = new Index<NetworkEndpoint>();
  readonly #byAddress = new Index<NetworkService | NetworkEndpoint>();

  constructor(network: NetworkConfig) {
    this.network = network;
    this.#suffix = `.${canonical(network.name)}`;
  }

  addService(service: NetworkService): void {
    for (const name of namesOfService(service)) this.#services.add(name, service);
    this.#byAddress.add(service.virtualIp, service);
  }

  removeService(service: NetworkService): void {
    for (const name of namesOfService(service)) this.#services.remove(name, service);
    this.#byAddress.remove(service.virtualIp, service);
  }

  addEndpoint(endpoint: NetworkEndpoint): void {
    for (const name of namesOfEndpoint(endpoint)) this.#endpoints.add(name, endpoint);
    this.#tasks.add(endpoint.serviceId, endpoint);
    this.#byAddress.add(endpoint.address, endpoint);
  }

  removeEndpoint(endpoint: NetworkEndpoint): void {
    for (const name of namesOfEndpoint(endpoint)) this.#endpoints.remove(name, endpoint);
    this.#tasks.remove(endpoint.serviceId, endpoint);
    this.#byAddress.remove(endpoint.address, endpoint);
  }

  /** @returns undefined for a name that this network does not know */
  lookup(name: string): ZoneAnswer | undefined {
    const found = this.#lookup(name);
    if (found !== undefined || !name.endsWith(this.#suffix)) return found;
    return this.#lookup(name.slice(0, -this.#suffix.length));
  }

  /** @returns undefined for an address outside of this network */
  reverse(address: string): ZoneAnswer | undefined {
    if (subnetAround(this.network, address) === undefined) return undefined;
    const [owner] = this.#byAddress.get(address);
    return owner === undefined ? ABSENT : { kind: 'name', name: `${owner.name}${this.#suffix}` };
  }

  #lookup(name: string): ZoneAnswer | undefined {
    const services = this.#services.get(name);
    if (services.length > 0) return this.#answer(services);
    const endpoints = this.#endpoints.get(name);
    return endpoints.length > 0 ? addressesOf(readyOf(endpoints)) : this.#lookupTasks(name);
  }

  #answer(services: readonly NetworkService[]): ZoneAnswer {
    const virtual = services.flatMap(({ virtualIp }) => (virtualIp === '' ? [] : [virtualIp]));
    if (virtual.length === services.length) return addressesOf(virtual);
    const others = services.filter(({ virtualIp }) => virtualIp === '');
    return addressesOf([...virtual, ...readyOf(this.#tasksOf(others))]);
  }

  #lookupTasks(name: string): ZoneAnswer | undefined {
    if (name.startsWith(TASKS)) {
      const services = this.#services.get(name.slice(TASKS.length));
      return services.length === 0 ? undefined : addressesOf(readyOf(this.#tasksOf(services)));
    }
    const [, slot, service = ''] = SLOT.exec(name) ?? [];
    const services = slot === undefined ? [] : this.#services.get(service);
    if (services.length === 0) return undefined;
    const tasks = this.#tasksOf(services).filter((t) => t.slot > 0 && String(t.slot) === slot);
    return tasks.length === 0 ? ABSENT : addressesOf(readyOf(tasks));
  }

  #tasksOf(services: readonly NetworkService[]): readonly NetworkEndpoint[] {
    return services.flatMap(({ serviceId }) => this.#tasks.get(serviceId));
  }
}

/** Small letters, without the final dot. */
export function canonical(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

function namesOfService({ name, aliases }: NetworkService): Set<string> {
  return new Set([name, ...aliases].map(canonical));
}

function namesOfEndpoint({ name, taskId, aliases }: NetworkEndpoint): Set<string> {
  return new Set([name, taskId, shortId(taskId), ...aliases].map(canonical));
}

function readyOf(endpoints: readonly NetworkEndpoint[]): string[] {
  return endpoints.filter((e) => e.ready && e.address !== '').map((e) => e.address);
}

function addressesOf(addresses: readonly string[]): ZoneAnswer {
  return { kind: 'addresses', addresses };
}

/** Lists by key; what has no key is in none. */
class Index<T> {
  readonly #lists = new Map<string, T[]>();

  get(key: string): readonly T[] {
    return this.#lists.get(key) ?? [];
  }

  add(key: string, item: T): void {
    if (key === '') return;
    const list = this.#lists.get(key);
    if (list === undefined) this.#lists.set(key, [item]);
    else list.push(item);
  }

  remove(key: string, item: T): void {
    const list = this.#lists.get(key) ?? [];
    const at = list.indexOf(item);
    if (at >= 0) list.splice(at, 1);
    if (list.length === 0) this.#lists.delete(key);
  }
}
