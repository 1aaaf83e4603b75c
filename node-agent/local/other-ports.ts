import type { NetworkState } from '../../overlay-net/driver.js';
import { gatewaysOf } from '../../overlay-net/core/subnets.js';
import { PublishMode } from '../../proto/gen/hatoba/v1/types.js';
import { toHostPort } from '../executor/host-ports.js';
import type { PortUse } from './port-use.js';

/** The ports that services publish on every node. */
export function ingressPorts({
  networks,
  services,
}: Pick<NetworkState, 'networks' | 'services'>): PortUse[] {
  const ingress = networks.find((network) => network.ingress);
  return services
    .filter(({ networkId }) => networkId === ingress?.networkId)
    .flatMap(({ name, ports }) =>
      ports
        .filter(({ publishMode }) => publishMode === PublishMode.INGRESS)
        .map(toHostPort)
        .map(({ protocol, hostIp, publishedPort: port }) => {
          return { protocol, hostIp, port, holder: `service "${name}" (ingress)` };
        }),
    );
}

/** Without what the agent itself listens on: names are answered on each network's gateway. */
export function withoutGateways<Use extends PortUse>(
  listeners: readonly Use[],
  { networks }: Pick<NetworkState, 'networks'>,
): Use[] {
  const gateways = new Set(networks.flatMap(gatewaysOf));
  return listeners.filter(({ hostIp }) => hostIp === '' || !gateways.has(hostIp));
}
