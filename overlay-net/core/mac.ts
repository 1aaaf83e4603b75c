import { invariant } from '../../common/assert.js';
import { parseAddress } from './ipam.js';

/**
 * Every node computes the same MAC addresses, so that none is ever sent around or asked for. All are
 * locally administered; the first byte keeps those of endpoints and of bridges apart.
 */

/** A task's link: 02:42 and the four bytes of its address, as Docker does. */
export function endpointMac(address: string): string {
  return `02:42:${hexBytes(parseAddress(address), 4)}`;
}

/**
 * A node's bridge of one network: 06, the node's index, the network's VNI.
 * @param nodeIndex 1..65535
 */
export function bridgeMac(nodeIndex: number, vni: number): string {
  invariant(nodeIndex > 0 && nodeIndex < 2 ** 16, `node index ${nodeIndex} is not within 1..65535`);
  invariant(vni > 0 && vni < 2 ** 24, `VNI ${vni} is not within 1..2^24-1`);
  return `06:${hexBytes(nodeIndex, 2)}:${hexBytes(vni, 3)}`;
}

function hexBytes(value: number, count: number): string {
  const digits = value.toString(16).padStart(count * 2, '0');
  return digits.match(/../g)?.join(':') ?? '';
}
