import type { SandboxConfig } from '../../overlay-net/driver.js';
import { PortProtocol, type PortConfig } from '../../proto/gen/hatoba/v1/types.js';

/** A port of this node that leads to one container alone. */
export type HostPort = SandboxConfig['hostPorts'][number];

const PROTOCOL: Readonly<Record<PortProtocol, HostPort['protocol']>> = {
  [PortProtocol.TCP]: 'tcp',
  [PortProtocol.UDP]: 'udp',
  [PortProtocol.SCTP]: 'sctp',
};

export function toHostPort(port: PortConfig): HostPort {
  const { hostIp, publishedPort, targetPort } = port;
  return { protocol: PROTOCOL[port.protocol], hostIp, publishedPort, targetPort };
}
