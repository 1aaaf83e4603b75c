import { HatobaError } from '../../common/errors.js';
import type { Netlink } from '../../linux/ports.js';
import type { Underlay } from '../core/link-plan.js';
import { addressOf } from '../core/ipam.js';

/**
 * The link that holds this node's data path address, and thus the MTU of the tunnels.
 * @throws {HatobaError} failed-precondition when no link of this host has the address
 */
export async function detectUnderlay(netlink: Netlink, address: string): Promise<Underlay> {
  const held = (await netlink.addresses()).find((a) => addressOf(a.cidr) === address);
  const link = (await netlink.links()).find((l) => l.index === held?.link);
  if (link === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `no link of this host has the data path address ${address}: see "ip address" and the agent's dataPathAddr`,
    );
  }
  return { address, mtuBytes: link.mtuBytes };
}
