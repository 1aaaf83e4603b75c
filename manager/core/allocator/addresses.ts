import type { Attachment, Network, Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import type { Snapshot } from '../snapshot.js';
import { AddressSpace } from './address-space.js';
import { addressOf } from '../../../overlay-net/core/ipam.js';

/** Network id → the address given last; a hint that keeps released addresses at rest. */
export type AddressCursors = ReadonlyMap<string, string>;

/** The addresses of every network, with all that a snapshot shows in use. */
export class Addresses {
  readonly #spaces = new Map<string, AddressSpace>();

  /** @param only ids of the networks that matter; all by default */
  constructor(snapshot: Snapshot, cursors: AddressCursors = new Map(), only?: ReadonlySet<string>) {
    for (const network of snapshot.networks()) {
      if (only?.has(network.id) !== false) this.open(network, cursors.get(network.id));
    }
    for (const { endpoint } of snapshot.services()) {
      for (const { networkId, addr } of endpoint.virtualIps) this.of(networkId)?.occupy(addr);
    }
    for (const { networkId, address } of snapshot.attachments()) {
      if (address !== '') this.of(networkId)?.occupy(address);
    }
    for (const task of snapshot.tasks()) this.#noteTask(task);
  }

  /** Undefined for a network that has no subnets. */
  of(networkId: string): AddressSpace | undefined {
    return this.#spaces.get(networkId);
  }

  /** Adds a network that the snapshot does not show. */
  open({ id, ipam }: Network, cursor?: string): void {
    if (ipam.length > 0) this.#spaces.set(id, new AddressSpace(ipam, cursor));
  }

  cursors(): AddressCursors {
    const cursors = new Map<string, string>();
    for (const [id, { cursor }] of this.#spaces) if (cursor !== undefined) cursors.set(id, cursor);
    return cursors;
  }

  #noteTask(task: Task): void {
    const { networksAttachments, status } = task;
    for (const { networkId, addresses } of networksAttachments) {
      const space = this.of(networkId);
      for (const address of addresses) {
        if (holdsAddresses(task)) space?.occupy(address);
        else space?.occupyEnded(address, status.timestampMs);
      }
    }
  }
}

/**
 * Whether the addresses of a task are still its own. What became of an orphaned task's container is
 * not known, so its address is not given again.
 */
function holdsAddresses({ status }: Task): boolean {
  return !isTerminal(status.state) || status.state === TaskState.ORPHANED;
}

/** Who has an address, for people: "task web.3", "container db on node n1"; undefined = nobody. */
export function holderOfAddress(
  snapshot: Snapshot,
  network: Network,
  address: string,
): string | undefined {
  if (network.ipam.some(({ gateway }) => gateway === address)) return 'the gateway of the network';
  const isHere = (networkId: string, cidr: string): boolean =>
    networkId === network.id && addressOf(cidr) === address;
  for (const { spec, endpoint } of snapshot.services()) {
    if (endpoint.virtualIps.some((v) => isHere(v.networkId, v.addr))) {
      return `service ${spec.name} (its virtual address)`;
    }
  }
  for (const attachment of snapshot.attachments()) {
    if (isHere(attachment.networkId, attachment.address)) return holderText(snapshot, attachment);
  }
  for (const task of snapshot.tasks()) {
    const has = task.networksAttachments.some((a) =>
      a.addresses.some((cidr) => isHere(a.networkId, cidr)),
    );
    if (has && holdsAddresses(task)) return `task ${taskName(task)}`;
  }
  return undefined;
}

/** "container db on node n1" */
export function holderText(
  snapshot: Snapshot,
  { containerId, containerName, nodeId }: Attachment,
): string {
  const name = containerName === '' ? containerId.slice(0, 12) : containerName;
  const node = snapshot.node(nodeId);
  return `container ${name} on node ${node === undefined ? nodeId : nodeLabel(node)}`;
}
