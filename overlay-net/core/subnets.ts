import { HatobaError } from '../../common/errors.js';
import type { NetworkConfig, NetworkSubnet } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { parseCidr, subnetContains, type Cidr } from './ipam.js';

type WithSubnets = Pick<NetworkConfig, 'name' | 'subnets'>;

/**
 * The first subnet of a network; every network has one.
 * @throws {HatobaError} invalid-argument for a network without any
 */
export function firstSubnet({ name, subnets }: WithSubnets): NetworkSubnet {
  const [first] = subnets;
  if (first === undefined) {
    throw new HatobaError('invalid-argument', `network ${name} has no subnet`);
  }
  return first;
}

/** The subnet that an address of the network is in; undefined for one that is in none. */
export function subnetAround({ subnets }: WithSubnets, address: string): NetworkSubnet | undefined {
  return subnets.find(({ subnet }) => subnetContains(parseCidr(subnet), address));
}

/** The addresses of a network's bridge, the same on every node. */
export function gatewaysOf({ subnets }: WithSubnets): string[] {
  return subnets.map(({ gateway }) => gateway);
}

export function cidrsOf({ subnets }: WithSubnets): Cidr[] {
  return subnets.map(({ subnet }) => parseCidr(subnet));
}
