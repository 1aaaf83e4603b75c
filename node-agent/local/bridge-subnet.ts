import { HatobaError } from '../../common/errors.js';
import {
  firstAddress,
  formatCidr,
  nextSubnet,
  parseCidr,
  parseInterface,
  subnetOf,
  subnetOverlaps,
  type Cidr,
} from '../../overlay-net/core/ipam.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';

/** Where another subnet is looked for when the wanted one is used on this machine. */
const POOLS = ['172.16.0.0/12', '192.168.0.0/16', '10.0.0.0/8'].map(parseCidr);

export const BRIDGE = { id: 'local-bridge', name: 'bridge' } as const;

/**
 * The subnet of the bridge of this node: that of the containers there are, else the wanted one,
 * else the first of its size that nothing here uses.
 * @param held addresses of containers, "172.30.0.2/16"
 * @param used subnets that lead elsewhere: routes of this machine, networks of the cluster
 * @throws {HatobaError} resource-exhausted
 */
export function chooseSubnet(
  wanted: string,
  held: readonly string[],
  used: readonly Cidr[],
): string {
  const [first] = held;
  if (first !== undefined) {
    const { address, prefixLength } = parseInterface(first);
    return formatCidr(subnetOf(address, prefixLength));
  }
  const subnet = parseCidr(wanted);
  if (!used.some((other) => subnetOverlaps(subnet, other))) return wanted;
  const next = nextSubnet(POOLS, subnet.prefixLength, used);
  if (next !== undefined) return formatCidr(next);
  throw new HatobaError(
    'resource-exhausted',
    `no subnet of the size of ${wanted} is free on this machine: set bridgeSubnet to a smaller one`,
  );
}

/** The network that containers of this node are on unless told otherwise, as Docker's. */
export function bridgeNetwork(subnet: string, mtuBytes: number): NetworkConfig {
  return {
    networkId: BRIDGE.id,
    name: BRIDGE.name,
    driver: 'bridge',
    subnets: [{ subnet, gateway: firstAddress(parseCidr(subnet)) }],
    dataPathPort: 0,
    hostAccess: false,
    vni: 0,
    mtuBytes,
    internal: false,
    ingress: false,
  };
}

/** Destinations of routes as subnets; the default route leads anywhere and counts for none. */
export function routedSubnets(destinations: readonly string[]): Cidr[] {
  return destinations
    .filter((text) => text !== 'default' && text !== '0.0.0.0/0')
    .map((text) => parseInterface(text.includes('/') ? text : `${text}/32`))
    .map(({ address, prefixLength }) => subnetOf(address, prefixLength));
}
