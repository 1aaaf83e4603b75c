import type { NetworkState } from '../../../overlay-net/driver.js';
import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkService,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import type { PortProtocol } from '../../../proto/gen/hatoba/v1/types.js';
import type { LabHost } from '../../support/net-lab.js';

/** The networks of the tests: id, VNI and subnet go by the third byte of the addresses. */
export function network(
  networkId: string,
  third: number,
  more: Partial<NetworkConfig> = {},
): NetworkConfig {
  return {
    networkId,
    name: networkId,
    driver: 'overlay',
    subnets: [{ subnet: `10.128.${third}.0/24`, gateway: `10.128.${third}.1` }],
    dataPathPort: 0,
    hostAccess: false,
    vni: 0x1000 + third,
    mtuBytes: 0,
    internal: false,
    ingress: false,
    ...more,
  };
}

export function endpoint(
  networkId: string,
  nodeId: string,
  serviceId: string,
  slot: number,
  address: string,
): NetworkEndpoint {
  const name = `${serviceId === '' ? 'box' : serviceId}.${slot}.${nodeId}`;
  const taskId = `${serviceId}${slot}`;
  return { networkId, taskId, serviceId, nodeId, address, slot, aliases: [], name, ready: true };
}

export function service(
  networkId: string,
  name: string,
  virtualIp: string,
  more: Partial<NetworkService> = {},
): NetworkService {
  const mode = virtualIp === '' ? 'ENDPOINT_MODE_DNSRR' : 'ENDPOINT_MODE_VIP';
  return {
    networkId,
    serviceId: name,
    name,
    aliases: [],
    mode,
    virtualIp,
    sessionAffinity: 'SESSION_AFFINITY_NONE',
    ports: [],
    ...more,
  };
}

export function ingressPort(
  publishedPort: number,
  protocol: PortProtocol = 'PORT_PROTOCOL_TCP',
): NetworkService['ports'][number] {
  return {
    name: '',
    protocol,
    targetPort: 80,
    publishedPort,
    publishMode: 'PUBLISH_MODE_INGRESS',
    hostIp: '',
  };
}

export function peers(hosts: readonly LabHost[]): NetworkState['peers'] {
  return hosts.map((h) => ({ nodeId: h.id, index: h.index, dataPathAddress: h.address }));
}
