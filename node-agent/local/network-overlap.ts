import { parseCidr, subnetOverlaps } from '../../overlay-net/core/ipam.js';
import type { NetworkState } from '../../overlay-net/driver.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';

/** The networks in which an address of `bridge` would mean somebody else, too. */
export function overlapping(
  networks: readonly NetworkConfig[],
  bridge: NetworkConfig,
): NetworkConfig[] {
  const own = parseCidr(bridge.subnet);
  return networks.filter(({ subnet }) => subnet !== '' && subnetOverlaps(own, parseCidr(subnet)));
}

/** A state without some networks and all that is on them; the very same when there are none. */
export function withoutNetworks(
  state: NetworkState,
  networks: readonly NetworkConfig[],
): NetworkState {
  if (networks.length === 0) return state;
  const ids = new Set(networks.map((n) => n.networkId));
  const stays = ({ networkId }: { networkId: string }): boolean => !ids.has(networkId);
  return {
    ...state,
    networks: state.networks.filter(stays),
    endpoints: state.endpoints.filter(stays),
    services: state.services.filter(stays),
  };
}
