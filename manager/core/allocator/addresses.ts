import type { Attachment, Network, Service, Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { nodeLabel } from '../node-label.js';
import type { Snapshot } from '../snapshot.js';
import { AddressSpace } from './address-space.js';
import { addressOf } from '../../../overlay-net/core/ipam.js';

/** Network id → the address given last; a hint that keeps released addresses at rest. */
export type AddressCursors = ReadonlyMap<string, string>;

/** An address that an object has; `endedAtMs` when it is that of a task that has ended. */
interface Holding {
  readonly networkId: string;
  /** "10.0.1.7/24" */
  readonly address: string;
  readonly endedAtMs?: number;
}

/** What may have addresses. */
export type Holder =
  | { readonly kind: 'task'; readonly object: Task }
  | { readonly kind: 'service'; readonly object: Service }
  | { readonly kind: 'attachment'; readonly object: Attachment };

/**
 * The addresses of every network, with all that is in use. It is kept right by putting what has
 * addresses, anew whenever it changed; in which order does not matter.
 */
export class Addresses {
  readonly #spaces = new Map<string, AddressSpace>();
  readonly #networks = new Map<string, Network>();
  /** Object id → its addresses. */
  readonly #held = new Map<string, readonly Holding[]>();
  readonly #cursors: Map<string, string>;
  readonly #only: ReadonlySet<string> | undefined;

  /** @param only ids of the networks that matter; all by default */
  constructor(snapshot: Snapshot, cursors: AddressCursors = new Map(), only?: ReadonlySet<string>) {
    this.#cursors = new Map(cursors);
    this.#only = only;
    for (const network of snapshot.networks()) this.open(network);
    for (const object of snapshot.services()) this.put({ kind: 'service', object });
    for (const object of snapshot.attachments()) this.put({ kind: 'attachment', object });
    for (const object of snapshot.tasks()) this.put({ kind: 'task', object });
  }

  /** Undefined for a network that has no subnets. */
  of(networkId: string): AddressSpace | undefined {
    return this.#spaces.get(networkId);
  }

  /** Adds a network, or what it has become. */
  open(network: Network): void {
    const { id, ipam } = network;
    if (this.#only?.has(id) === false) return;
    const known = this.#networks.get(id);
    if (known === network) return;
    this.#networks.set(id, network);
    if (known !== undefined && equalData(known.ipam, ipam)) return;
    if (ipam.length === 0) {
      this.#spaces.delete(id);
      return;
    }
    this.#spaces.set(id, new AddressSpace(ipam, this.#cursors.get(id)));
    for (const holdings of this.#held.values()) {
      for (const holding of holdings) if (holding.networkId === id) this.#hold(holding);
    }
  }

  close(networkId: string): void {
    this.#networks.delete(networkId);
    this.#spaces.delete(networkId);
    this.#cursors.delete(networkId);
  }

  /** What the object has from now on. */
  put(holder: Holder): void {
    const holdings = holdingsOf(holder);
    const former = this.#held.get(holder.object.id) ?? NOTHING;
    if (holdings.length === 0 && former.length === 0) return;
    for (const holding of former) this.#giveUp(holding);
    for (const holding of holdings) this.#hold(holding);
    if (holdings.length > 0) this.#held.set(holder.object.id, holdings);
    else this.#held.delete(holder.object.id);
  }

  /** The object is gone. */
  delete(id: string): void {
    for (const holding of this.#held.get(id) ?? NOTHING) this.#giveUp(holding);
    this.#held.delete(id);
  }

  cursors(): AddressCursors {
    const cursors = new Map<string, string>();
    for (const [id, { cursor }] of this.#spaces) if (cursor !== undefined) cursors.set(id, cursor);
    return cursors;
  }

  #hold({ networkId, address, endedAtMs }: Holding): void {
    const space = this.#spaces.get(networkId);
    if (endedAtMs === undefined) space?.occupy(address);
    else space?.occupyEnded(address, endedAtMs);
  }

  #giveUp({ networkId, address, endedAtMs }: Holding): void {
    const space = this.#spaces.get(networkId);
    if (endedAtMs === undefined) space?.release(address);
    else space?.releaseEnded(address, endedAtMs);
  }
}

const NOTHING: readonly Holding[] = [];

function holdingsOf({ kind, object }: Holder): readonly Holding[] {
  switch (kind) {
    case 'task':
      return holdingsOfTask(object);
    case 'service':
      return object.endpoint.virtualIps.map(({ networkId, addr }) => ({
        networkId,
        address: addr,
      }));
    case 'attachment':
      return object.address === '' ? NOTHING : [object];
  }
}

function holdingsOfTask(task: Task): readonly Holding[] {
  const { networksAttachments, status } = task;
  if (networksAttachments.length === 0) return NOTHING;
  const ended = holdsAddresses(task) ? {} : { endedAtMs: status.timestampMs };
  return networksAttachments.flatMap(({ networkId, addresses }) =>
    addresses.map((address) => ({ networkId, address, ...ended })),
  );
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
