import { STACK_LABEL } from '../../../common/model/labels.js';
import type { Network, Service } from '../../../common/model/objects.js';
import { holderText } from '../allocator/addresses.js';
import type { Snapshot } from '../snapshot.js';

/** Longest list of containers that a message has. */
const MAX_CONTAINERS = 10;

/**
 * Who uses a network, for people: "service shop_web (stack shop)", "container db on node n1". A
 * service that is being removed uses it no more: the network then goes when the last of its tasks
 * has.
 * @param options.besidesStack leaves out the services of this stack
 */
export function usersOf(
  snapshot: Snapshot,
  { id, spec }: Network,
  options: { besidesStack?: string } = {},
): string[] {
  const asks = (service: Service): boolean =>
    service.spec.taskTemplate.networks.some(({ target }) => target === id || target === spec.name);
  const services = [...snapshot.services()]
    .filter((s) => !s.pendingDelete && asks(s))
    .filter((s) => options.besidesStack === undefined || stackOf(s) !== options.besidesStack)
    .map((s) => `service ${s.spec.name}${stackOf(s) === '' ? '' : ` (stack ${stackOf(s)})`}`);
  const containers = [...snapshot.attachments()]
    .filter((a) => a.networkId === id)
    .map((a) => holderText(snapshot, a));
  const more = containers.length - MAX_CONTAINERS;
  return [
    ...services.sort(),
    ...containers.sort().slice(0, MAX_CONTAINERS),
    ...(more > 0 ? [`${more} more ${more === 1 ? 'container' : 'containers'}`] : []),
  ];
}

function stackOf({ spec }: Service): string {
  return spec.labels[STACK_LABEL] ?? '';
}
