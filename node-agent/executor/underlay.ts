import { HatobaError } from '../../common/errors.js';
import type { Netlink } from '../../linux/ports.js';
import { addressOf } from '../../overlay-net/core/ipam.js';

/**
 * The MTU in bytes of the link that carries an address of this machine.
 * @throws {HatobaError} failed-precondition when no link has it
 */
export function mtuOf(
  netlink: Pick<Netlink, 'addresses' | 'links'>,
): (address: string) => Promise<number> {
  return async (address) => {
    const [addresses, links] = await Promise.all([netlink.addresses(), netlink.links()]);
    const owner = addresses.find(({ cidr }) => addressOf(cidr) === address);
    const link = links.find(({ index }) => index === owner?.link);
    if (link !== undefined) return link.mtuBytes;
    throw new HatobaError(
      'failed-precondition',
      `no network link of this machine has the address ${address}: set advertiseAddr or dataPathAddr to one of its own`,
    );
  };
}
