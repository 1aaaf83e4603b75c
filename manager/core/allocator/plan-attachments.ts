import type { Attachment, Network } from '../../../common/model/objects.js';
import type { Change, Snapshot } from '../snapshot.js';
import { holderOfAddress, type Addresses } from './addresses.js';

/**
 * Gives attachments their addresses. Attachments are created without one, by any manager; only the
 * leader's allocator gives addresses, to tasks and attachments alike, so that nobody can give one
 * that another gives at the same time.
 */
export function planAttachments(snapshot: Snapshot, addresses: Addresses): Change[] {
  return [...snapshot.attachments()]
    .filter(({ address, problem }) => address === '' && problem === '')
    .sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1))
    .map((attachment) => {
      const given = giveAddress(snapshot, addresses, attachment);
      const object = { ...attachment, ...given };
      addresses.put({ kind: 'attachment', object });
      if ('address' in given) addresses.of(object.networkId)?.release(given.address); // taken
      return { action: 'update', kind: 'attachment', object };
    });
}

function giveAddress(
  snapshot: Snapshot,
  addresses: Addresses,
  { networkId, wantedAddress }: Attachment,
): { address: string } | { problem: string } {
  const network = snapshot.network(networkId);
  const space = addresses.of(networkId);
  if (network === undefined || space === undefined) {
    return { problem: `network ${network?.spec.name ?? networkId} has no subnet` };
  }
  if (wantedAddress === '') {
    const address = space.take();
    return address === undefined ? { problem: exhausted(network, space.describe()) } : { address };
  }
  const taken = space.takeThis(wantedAddress);
  if ('address' in taken) return taken;
  return { problem: refusalOf(snapshot, network, wantedAddress, taken.refusal) };
}

/** Why an address of a network cannot be given to a container. @param refusal of AddressSpace */
export function refusalOf(
  snapshot: Snapshot,
  network: Network,
  address: string,
  refusal: 'outside' | 'taken',
): string {
  const { name } = network.spec;
  if (refusal === 'outside') {
    const subnets = network.ipam.map(({ subnet }) => subnet).join(', ');
    return `network ${name} cannot give the address ${address}: its subnets are ${subnets}`;
  }
  const holder =
    holderOfAddress(snapshot, network, address) ?? 'another that came at the same time';
  return `address ${address} of network ${name} is taken by ${holder}`;
}

/** @param usage of AddressSpace.describe */
export function exhausted(network: Network, usage: string): string {
  return `no address is left on network ${network.spec.name} (${usage})`;
}
