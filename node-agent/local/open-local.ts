import { networkInterfaces } from 'node:os';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { NetworkDriver, NetworkState } from '../../overlay-net/driver.js';
import { cidrsOf, firstSubnet } from '../../overlay-net/core/subnets.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { Engine } from '../../runtime/engine.js';
import { attachmentOf, containerOfSandbox } from './attachment.js';
import { bridgeNetwork, chooseSubnet } from './bridge-subnet.js';
import { ContainerNetworks } from './container-networks.js';
import { hostListeners } from './host-listeners.js';
import type { HostNetwork } from './host-network.js';
import { ingressPorts, withoutGateways } from './other-ports.js';

export interface OpenLocalModules {
  readonly engine: Pick<Engine, 'containers'>;
  readonly driver: Pick<NetworkDriver, 'attach' | 'detach' | 'list'>;
  /** The networks of the cluster as of now. */
  readonly clusterState: () => NetworkState;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * The network of this node alone, fitted to what the machine has and the cluster is known to have.
 * @param options.bridgeSubnet the subnet that is wanted
 */
export function openContainerNetworks(
  options: { nodeId: string; bridgeSubnet: string; host: HostNetwork; cluster: NetworkState },
  { engine, driver, clusterState, random, log }: OpenLocalModules,
): ContainerNetworks {
  const { nodeId, bridgeSubnet, host, cluster } = options;
  const fitTo = (others: readonly NetworkConfig[], held: readonly string[] = []): NetworkConfig => {
    const taken = others.flatMap(cidrsOf);
    const subnet = chooseSubnet(bridgeSubnet, held, [...host.subnets, ...taken]);
    return bridgeNetwork(subnet, host.mtuBytes);
  };
  const network = fitTo(cluster.networks, heldAddresses(engine));
  const { subnet } = firstSubnet(network);
  if (subnet !== bridgeSubnet) log.info('Took another subnet', { bridgeSubnet, subnet });
  const networks: ContainerNetworks = new ContainerNetworks(
    { nodeId, network },
    {
      containers: engine.containers,
      driver,
      fitTo,
      otherPorts: async () => {
        const state = clusterState();
        const all = { networks: [...state.networks, networks.network] };
        return [...ingressPorts(state), ...withoutGateways(await hostListeners(), all)];
      },
      ownAddresses: () => new Set(Object.values(networkInterfaces()).flatMap(addressesOf)),
      random,
      log,
    },
  );
  return networks;
}

/**
 * Whether anything here is on networks of the cluster: those must not be taken for unwanted before
 * the managers have told of them.
 */
export async function needsClusterNetworks({
  driver,
  engine: { containers },
}: Pick<OpenLocalModules, 'engine'> & {
  driver: Pick<NetworkDriver, 'list'>;
}): Promise<boolean> {
  return (await driver.list()).some(({ id }) => {
    const containerId = containerOfSandbox(id);
    if (containerId === undefined) return true; // a task's
    const config = containers.get(containerId)?.config;
    return config !== undefined && attachmentOf(config)?.mode === 'cluster';
  });
}

function heldAddresses({ containers }: Pick<Engine, 'containers'>): string[] {
  return containers.list().flatMap(({ config }) => {
    const attachment = attachmentOf(config);
    return attachment?.mode === 'bridge' ? [attachment.address] : [];
  });
}

function addressesOf(infos: { address: string }[] | undefined): string[] {
  return (infos ?? []).map(({ address }) => address);
}
