import { subnetOverlaps } from '../../overlay-net/core/ipam.js';
import { cidrsOf } from '../../overlay-net/core/subnets.js';
import type { NetworkState } from '../../overlay-net/driver.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';

/** The networks in which an address of `bridge` would mean somebody else, too. */
export function overlapping(
  networks: readonly NetworkConfig[],
  bridge: NetworkConfig,
): NetworkConfig[] {
  const own = cidrsOf(bridge);
  return networks.filter((n) => cidrsOf(n).some((c) => own.some((o) => subnetOverlaps(o, c))));
}

/** "10.0.1.0/24, 10.0.2.0/24" */
export function subnetsText({ subnets }: NetworkConfig): string {
  return subnets.map(({ subnet }) => subnet).join(', ');
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
