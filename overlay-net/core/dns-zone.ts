import { difference } from './difference.js';
import { canonical, NetworkNames, type ZoneAnswer } from './dns-names.js';
import { isAddress } from './ipam.js';
import { linkedNetworks } from './link-plan.js';
import type { NetworkState } from './network-state.js';
import { gatewaysOf } from './subnets.js';

const REVERSE = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/;
const FOREIGN: ZoneAnswer = { kind: 'foreign' };

/**
 * The names of all networks of this node, as of the last state.
 * 1. A state costs what differs from the one before; objects are compared by identity.
 * 2. The ingress network has no names: everything published meets there, of whatever stack.
 */
export class Zone {
  #state: NetworkState = { nodeId: '', networks: [], endpoints: [], services: [], peers: [] };
  #networks: ReadonlyMap<string, NetworkState['networks'][number]> = new Map();
  #names = new Map<string, NetworkNames>();
  /** Network id by gateway address. */
  #gateways: ReadonlyMap<string, string> = new Map();

  update(state: NetworkState): void {
    const before = this.#state;
    this.#state = state;
    this.#take(before, state, this.#takeNetworks());
  }

  /**
   * What a name leads to.
   * @param networkIds the networks of the asker: the first that knows the name answers, also when
   *   nothing of it is ready, as the same name elsewhere is another service
   * @param name without regard to case, with or without the final dot
   */
  lookup(networkIds: readonly string[], name: string): ZoneAnswer {
    const short = canonical(name);
    for (const id of networkIds) {
      const found = this.#names.get(id)?.lookup(short);
      if (found !== undefined) return found;
    }
    return FOREIGN;
  }

  /** The name of "7.1.0.10.in-addr.arpa", with its network: "web.1.0r5o6ti2zg.shop_default". */
  reverse(networkIds: readonly string[], name: string): ZoneAnswer {
    const address = REVERSE.exec(canonical(name))?.slice(1).reverse().join('.');
    if (address === undefined || !isAddress(address)) return FOREIGN;
    for (const id of networkIds) {
      const found = this.#names.get(id)?.reverse(address);
      if (found !== undefined) return found;
    }
    return FOREIGN;
  }

  /** Whether a container in these networks may ask the resolvers outside. */
  hasOutside(networkIds: readonly string[]): boolean {
    return networkIds.some((id) => this.#networks.get(id)?.internal === false);
  }

  /** The network with that gateway address: this host itself asks from there. */
  networkOfGateway(address: string): string | undefined {
    return this.#gateways.get(address);
  }

  /** Keeps the names of networks that stay. @returns the ids of those that have none yet */
  #takeNetworks(): ReadonlySet<string> {
    const networks = linkedNetworks(this.#state);
    const names = new Map<string, NetworkNames>();
    const fresh = new Set<string>();
    for (const network of networks) {
      if (network.ingress) continue;
      const known = this.#names.get(network.networkId);
      if (known?.network !== network) fresh.add(network.networkId);
      names.set(network.networkId, known?.network === network ? known : new NetworkNames(network));
    }
    this.#networks = new Map(networks.map((n) => [n.networkId, n]));
    this.#gateways = new Map(
      networks.flatMap((n) => gatewaysOf(n).map((gateway) => [gateway, n.networkId])),
    );
    this.#names = names;
    return fresh;
  }

  /** Of fresh networks everything is new, whether it was there before or not. */
  #take(before: NetworkState, after: NetworkState, fresh: ReadonlySet<string>): void {
    const services = difference(before.services, after.services);
    this.#each(services.gone, (names, service) => names.removeService(service));
    const endpoints = difference(before.endpoints, after.endpoints);
    this.#each(endpoints.gone, (names, endpoint) => names.removeEndpoint(endpoint));
    const isStaying = (o: { networkId: string }): boolean => !fresh.has(o.networkId);
    const isFresh = (o: { networkId: string }): boolean => fresh.has(o.networkId);
    const come = <T extends { networkId: string }>(all: readonly T[], more: readonly T[]): T[] =>
      fresh.size === 0 ? [...more] : [...all.filter(isFresh), ...more.filter(isStaying)];
    this.#each(come(after.services, services.come), (names, service) => names.addService(service));
    this.#each(come(after.endpoints, endpoints.come), (names, e) => names.addEndpoint(e));
  }

  #each<T extends { networkId: string }>(
    objects: readonly T[],
    run: (names: NetworkNames, object: T) => void,
  ): void {
    for (const object of objects) {
      const names = this.#names.get(object.networkId);
      if (names !== undefined) run(names, object);
    }
  }
}
