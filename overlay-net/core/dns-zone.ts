import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { NetworkState } from './network-state.js';
import { isAddress } from './ipam.js';
import { linkedNetworks } from './link-plan.js';
import { subnetAround } from './subnets.js';

/** What the names of a node's networks lead to. */
export type ZoneAnswer =
  /** The addresses behind a name; none: the name exists and nothing of it is ready. */
  | { kind: 'addresses'; addresses: readonly string[] }
  /** The name of an address. */
  | { kind: 'name'; name: string }
  /** An address of these networks that nobody has. */
  | { kind: 'absent' }
  /** Not ours: for other resolvers. */
  | { kind: 'foreign' };

/** The names of one state; what is asked of a network is computed once, when first asked. */
export interface Zone {
  /**
   * @param networkIds the networks of the asker; the first that knows the name answers
   * @param name without regard to case, with or without the final dot
   */
  lookup(networkIds: readonly string[], name: string): ZoneAnswer;
  /** Reverse lookup of "7.1.0.10.in-addr.arpa". */
  reverse(networkIds: readonly string[], name: string): ZoneAnswer;
  /** Whether a container in these networks may ask the resolvers outside. */
  hasOutside(networkIds: readonly string[]): boolean;
}

interface Names {
  network: NetworkConfig;
  addresses: ReadonlyMap<string, readonly string[]>;
  names: ReadonlyMap<string, string>;
}

const REVERSE = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/;

/**
 * Names on a network, each answering with ready tasks only:
 * - a service and its aliases: the virtual address, or every task where there is none
 * - `tasks.<service>`: every task; `<slot>.<service>`: the task of that slot
 * - the name of a task or container and its aliases; a service of the same name goes first
 * - all of these followed by `.<network>`
 * The ingress network has no names: everything published meets there, of whatever stack.
 */
export function createZone(state: NetworkState): Zone {
  const networks = new Map(linkedNetworks(state).map((n) => [n.networkId, n]));
  const cache = new Map<string, Names>();
  const namesOf = (networkId: string): Names | undefined => {
    const known = cache.get(networkId);
    const network = networks.get(networkId);
    if (known !== undefined || network === undefined || network.ingress) return known;
    const names = collectNames(network, state);
    cache.set(networkId, names);
    return names;
  };
  const scope = (ids: readonly string[]): Names[] =>
    ids.map(namesOf).filter((n) => n !== undefined);
  return {
    lookup: (ids, name) => lookup(scope(ids), canonical(name)),
    reverse: (ids, name) => reverse(scope(ids), canonical(name)),
    hasOutside: (ids) => ids.some((id) => networks.get(id)?.internal === false),
  };
}

/** Turns a list by `by` places, so that clients that take the first answer are spread. */
export function rotate<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function lookup(scope: readonly Names[], name: string): ZoneAnswer {
  let known = false;
  for (const { network, addresses } of scope) {
    const suffix = `.${network.name.toLowerCase()}`;
    const short = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    const found = addresses.get(name) ?? addresses.get(short);
    if (found === undefined) continue;
    if (found.length > 0) return { kind: 'addresses', addresses: found };
    known = true;
  }
  return known ? { kind: 'addresses', addresses: [] } : { kind: 'foreign' };
}

function reverse(scope: readonly Names[], name: string): ZoneAnswer {
  const address = REVERSE.exec(name)?.slice(1).reverse().join('.');
  if (address === undefined || !isAddress(address)) return { kind: 'foreign' };
  for (const { network, names } of scope) {
    if (subnetAround(network, address) === undefined) continue;
    const found = names.get(address);
    return found === undefined ? { kind: 'absent' } : { kind: 'name', name: found };
  }
  return { kind: 'foreign' };
}

function collectNames(network: NetworkConfig, state: NetworkState): Names {
  const endpoints = state.endpoints.filter((e) => e.networkId === network.networkId);
  const services = state.services.filter((s) => s.networkId === network.networkId);
  const byService = new Map<string, NetworkEndpoint[]>();
  for (const endpoint of endpoints) {
    if (endpoint.serviceId === '') continue;
    const group = byService.get(endpoint.serviceId);
    if (group === undefined) byService.set(endpoint.serviceId, [endpoint]);
    else group.push(endpoint);
  }
  const addresses = new Map<string, string[]>();
  const names = new Map<string, string>();
  for (const service of services) {
    addService(service, byService.get(service.serviceId) ?? [], addresses);
    if (service.virtualIp !== '') names.set(service.virtualIp, service.name);
  }
  const taken = new Set(addresses.keys());
  for (const endpoint of endpoints) {
    if (endpoint.address === '') continue;
    for (const name of [endpoint.name, ...endpoint.aliases]) {
      if (name === '' || taken.has(canonical(name))) continue;
      add(addresses, name, readyAddresses([endpoint]));
    }
    names.set(endpoint.address, endpoint.name);
  }
  return { network, addresses, names };
}

function addService(
  service: NetworkService,
  tasks: readonly NetworkEndpoint[],
  addresses: Map<string, string[]>,
): void {
  const ready = readyAddresses(tasks);
  for (const name of new Set([service.name, ...service.aliases].map(canonical))) {
    if (name === '') continue;
    add(addresses, name, service.virtualIp === '' ? ready : [service.virtualIp]);
    add(addresses, `tasks.${name}`, ready);
    for (const task of tasks) {
      if (task.slot > 0) add(addresses, `${task.slot}.${name}`, readyAddresses([task]));
    }
  }
}

function readyAddresses(endpoints: readonly NetworkEndpoint[]): string[] {
  return endpoints.filter((e) => e.ready && e.address !== '').map((e) => e.address);
}

function add(addresses: Map<string, string[]>, name: string, more: readonly string[]): void {
  const key = canonical(name);
  const list = addresses.get(key) ?? [];
  addresses.set(key, [...list, ...more.filter((a) => !list.includes(a))]);
}

function canonical(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}
