import type { AssignmentChange, NetworkEndpoint } from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { equalData } from '../equal.js';
import {
  configOf,
  endpointsOfAttachment,
  endpointsOfTask,
  isPerNode,
  isWithoutLinks,
  overlayDefaultsOf,
  peersOf,
  servicesOf,
} from './network-items.js';
import type { Snapshot } from '../snapshot.js';

export type AssignmentItem = NonNullable<AssignmentChange['item']>;

/** Items by what names them ("endpoint <network> <task>"). */
export type Part = ReadonlyMap<string, AssignmentItem>;

/** Key of the part with the peers; no id of a network looks like this. */
export const PEERS = 'peers';

/**
 * What nodes share: of each network what is on it (by network id), of networks that each node has
 * for itself the endpoints of one node (by network and node id), and the peers. Worked out once per
 * revision for all nodes. A part that did not change is the same object, and so is each item that
 * did not, so that the effort of telling nodes follows what changed.
 */
export class NetworkParts {
  #parts = new Map<string, Map<string, AssignmentItem>>();
  #ingress: readonly string[] = [];
  #attached: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  readonly #tasks = new Derived(endpointsOfTask);
  readonly #attachments = new Derived(endpointsOfAttachment);
  #services = new Derived(servicesOf);
  /** One function, as what is worked out with it counts as made with another otherwise. */
  readonly #isIngress = (networkId: string): boolean => this.#ingress.includes(networkId);

  refresh(snapshot: Snapshot): void {
    this.#learnIngress(snapshot);
    this.#attached = attachedNetworks(snapshot);
    const parts = this.#build(snapshot);
    for (const [id, part] of parts) parts.set(id, sameIfEqual(this.#parts.get(id), part));
    this.#parts = parts;
  }

  part(key: string): Part | undefined {
    return this.#parts.get(key);
  }

  /**
   * Keys of what a node must know, beside the peers and the ingress networks, of networks it has.
   * @param networkIds those that its tasks are on
   */
  keysFor(nodeId: string, networkIds: Iterable<string>): Set<string> {
    const keys = new Set([PEERS, ...this.#ingress]);
    for (const ids of [networkIds, this.#attached.get(nodeId) ?? []]) {
      for (const id of ids) keys.add(id).add(perNodeKey(id, nodeId));
    }
    return keys;
  }

  #learnIngress(snapshot: Snapshot): void {
    const ids = [...snapshot.networks()].filter((n) => n.spec.ingress).map((n) => n.id);
    if (equalData(ids, this.#ingress)) return;
    this.#ingress = ids;
    this.#services = new Derived(servicesOf);
  }

  #build(snapshot: Snapshot): Map<string, Map<string, AssignmentItem>> {
    const parts = new Map<string, Map<string, AssignmentItem>>();
    const perNode = new Set<string>();
    const defaults = overlayDefaultsOf(snapshot);
    for (const network of snapshot.networks()) {
      // not allocated yet: nobody can be on it
      if (network.ipam.length === 0 && !isWithoutLinks(network)) continue;
      if (isPerNode(network)) perNode.add(network.id);
      const value = configOf(network, defaults);
      parts.set(network.id, new Map([[`network ${network.id}`, { $case: 'network', value }]]));
    }
    for (const value of this.#services.refresh(snapshot.services(), () => this.#isIngress)) {
      const key = `service ${value.networkId} ${value.serviceId}`;
      parts.get(value.networkId)?.set(key, { $case: 'service', value });
    }
    for (const value of this.#endpoints(snapshot)) {
      const { networkId, nodeId, taskId } = value;
      const key = `endpoint ${networkId} ${taskId}`;
      const part = perNode.has(networkId)
        ? partAt(parts, perNodeKey(networkId, nodeId))
        : parts.get(networkId);
      part?.set(key, { $case: 'endpoint', value });
    }
    const peers = partAt(parts, PEERS);
    for (const value of peersOf(snapshot)) {
      peers.set(`peer ${value.nodeId}`, { $case: 'peer', value });
    }
    return parts;
  }

  *#endpoints(snapshot: Snapshot): Iterable<NetworkEndpoint> {
    const nodeOf = (o: { readonly nodeId: string }) => snapshot.node(o.nodeId);
    yield* this.#tasks.refresh(snapshot.tasks(), nodeOf);
    yield* this.#attachments.refresh(snapshot.attachments(), nodeOf);
  }
}

function perNodeKey(networkId: string, nodeId: string): string {
  return `${networkId} ${nodeId}`;
}

function partAt(
  parts: Map<string, Map<string, AssignmentItem>>,
  key: string,
): Map<string, AssignmentItem> {
  const present = parts.get(key) ?? new Map<string, AssignmentItem>();
  parts.set(key, present);
  return present;
}

/** Networks that containers outside of services are on, by node. */
function attachedNetworks(snapshot: Snapshot): Map<string, Set<string>> {
  const byNode = new Map<string, Set<string>>();
  for (const { nodeId, networkId, address } of snapshot.attachments()) {
    if (address === '') continue; // none was given yet
    byNode.set(nodeId, (byNode.get(nodeId) ?? new Set()).add(networkId));
  }
  return byNode;
}

/** The former part where nothing differs; equal items of a changed one keep their identity. */
function sameIfEqual(
  before: Map<string, AssignmentItem> | undefined,
  after: Map<string, AssignmentItem>,
): Map<string, AssignmentItem> {
  if (before === undefined) return after;
  let differs = before.size !== after.size;
  for (const [key, item] of after) {
    const old = before.get(key);
    if (old !== undefined && equalData(old.value, item.value)) after.set(key, old);
    else differs = true;
  }
  return differs ? after : before;
}

/** What follows from objects and what each depends on, worked out again only where these changed. */
class Derived<O extends { readonly id: string }, C, T> {
  readonly #derive: (object: O, context: C) => readonly T[];
  #known = new Map<string, { object: O; context: C; results: readonly T[] }>();

  constructor(derive: (object: O, context: C) => readonly T[]) {
    this.#derive = derive;
  }

  *refresh(objects: Iterable<O>, contextOf: (object: O) => C): Iterable<T> {
    const before = this.#known;
    this.#known = new Map();
    for (const object of objects) {
      const context = contextOf(object);
      const old = before.get(object.id);
      const isKnown = old?.object === object && old.context === context;
      const results = isKnown ? old.results : this.#derive(object, context);
      this.#known.set(object.id, { object, context, results });
      yield* results;
    }
  }
}
