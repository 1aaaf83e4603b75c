import { readFile } from 'node:fs/promises';
import type { NetworkState } from '../../overlay-net/driver.js';
import type { HostUse } from '../session/describe-node.js';
import type { ContainerNetworks } from './container-networks.js';
import { hostSubnetsOf, type HostNetwork } from './host-network.js';
import { SocketOwners } from './socket-owners.js';
import { usedPorts, type UsedPortsModules } from './used-ports.js';

export interface HostUseModules extends Pick<UsedPortsModules, 'containers'> {
  readonly lookAtHost: () => Promise<HostNetwork>;
  readonly bridge: Pick<ContainerNetworks, 'ports' | 'network'>;
  /** The networks of the cluster as of now. */
  readonly clusterState: () => NetworkState;
}

/** Where routes of this host lead and which ports are taken, as the managers want to know it. */
export function hostUseOf(modules: HostUseModules): () => Promise<HostUse> {
  const { lookAtHost, bridge, clusterState, containers } = modules;
  const owners = new SocketOwners();
  return async () => {
    const [host, ephemeralPorts] = await Promise.all([lookAtHost(), ephemeralPortsOf()]);
    const networks = (): Pick<NetworkState, 'networks' | 'services'> => {
      const { networks: ofCluster, services } = clusterState();
      return { networks: [...ofCluster, bridge.network], services };
    };
    const ports = { containers, ports: bridge.ports, owners, networks, ephemeralPorts };
    return { hostSubnets: hostSubnetsOf(host), usedPorts: await usedPorts(ports) };
  };
}

/** The kernel's own, where it does not say otherwise. */
const USUAL = { first: 32_768, last: 60_999 };

async function ephemeralPortsOf(): Promise<{ first: number; last: number }> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '');
  const [, first, last] = /^(\d+)\s+(\d+)\s*$/.exec(text) ?? [];
  return first === undefined || last === undefined
    ? USUAL
    : { first: Number(first), last: Number(last) };
}
