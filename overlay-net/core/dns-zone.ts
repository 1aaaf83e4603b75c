import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
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
 * 1. A network's names are gathered when somebody first asks for one: most networks of a large
 *    cluster are asked for nothing here. From then on a state costs what differs from the one
 *    before; objects are compared by identity.
 * 2. The ingress network has no names: everything published meets there, of whatever stack.
 */
export class Zone {
  #state: NetworkState = { nodeId: '', networks: [], endpoints: [], services: [], peers: [] };
  #networks: ReadonlyMap<string, NetworkConfig> = new Map();
  /** Of the networks that were asked for. */
  readonly #names = new Map<string, NetworkNames>();
  /** Network id by gateway address. */
  #gateways: ReadonlyMap<string, string> = new Map();

  update(state: NetworkState): void {
    const before = this.#state;
    this.#state = state;
    const networks = linkedNetworks(state);
    this.#networks = new Map(networks.map((n) => [n.networkId, n]));
    this.#gateways = new Map(
      networks.flatMap((n) => gatewaysOf(n).map((gateway) => [gateway, n.networkId])),
    );
    for (const [id, { network }] of this.#names) {
      if (this.#networks.get(id) !== network) this.#names.delete(id);
    }
    this.#follow(before);
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
      const found = this.#namesOf(id)?.lookup(short);
      if (found !== undefined) return found;
    }
    return FOREIGN;
  }

  /** The name of "7.1.0.10.in-addr.arpa", with its network: "web.1.0r5o6ti2zg.shop_default". */
  reverse(networkIds: readonly string[], name: string): ZoneAnswer {
    const address = REVERSE.exec(canonical(name))?.slice(1).reverse().join('.');
    if (address === undefined || !isAddress(address)) return FOREIGN;
    for (const id of networkIds) {
      const found = this.#namesOf(id)?.reverse(address);
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

  #namesOf(networkId: string): NetworkNames | undefined {
    const known = this.#names.get(networkId);
    const network = this.#networks.get(networkId);
    if (known !== undefined || network === undefined || network.ingress) return known;
    const names = new NetworkNames(network);
    for (const service of this.#state.services) {
      if (service.networkId === networkId) names.addService(service);
    }
    for (const endpoint of this.#state.endpoints) {
      if (endpoint.networkId === networkId) names.addEndpoint(endpoint);
    }
    this.#names.set(networkId, names);
    return names;
  }

  #follow(before: NetworkState): void {
    const services = difference(before.services, this.#state.services);
    for (const service of services.gone) this.#known(service)?.removeService(service);
    for (const service of services.come) this.#known(service)?.addService(service);
    const endpoints = difference(before.endpoints, this.#state.endpoints);
    for (const endpoint of endpoints.gone) this.#known(endpoint)?.removeEndpoint(endpoint);
    for (const endpoint of endpoints.come) this.#known(endpoint)?.addEndpoint(endpoint);
  }

  #known({ networkId }: { networkId: string }): NetworkNames | undefined {
    return this.#names.get(networkId);
  }
}
