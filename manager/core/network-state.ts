import { STACK_LABEL } from '../../common/model/labels.js';
import type { Network, Node, Service, Task } from '../../common/model/objects.js';
import { isTerminal, rankOf } from '../../common/model/task-state.js';
import {
  AssignmentAction,
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
  type AssignmentChange,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import {
  NodeState,
  PublishMode,
  TaskState,
  Task as TaskMessage,
} from '../../proto/gen/hatoba/v1/types.js';
import { equalData } from './equal.js';
import { taskName } from './orchestrator/slots.js';
import type { Snapshot } from './snapshot.js';

export type AssignmentItem = NonNullable<AssignmentChange['item']>;

/** Items by what names them ("endpoint <network> <task>"). */
type Part = ReadonlyMap<string, AssignmentItem>;

/**
 * Everything one node must know: its own tasks, and the parts it shares with others: each of its
 * networks with all that is on it (by network id), and the peers. A part that did not change from
 * one revision to the next is the same object.
 */
export interface NodeAssignments {
  readonly tasks: Part;
  readonly shared: ReadonlyMap<string, Part>;
}

/** Every item of a node, by what names it. */
export function itemsOf({ tasks, shared }: NodeAssignments): Part {
  return new Map([...shared.values(), tasks].flatMap((part) => [...part]));
}

/**
 * Says what each node must know, and what changed of it. The parts are worked out once per
 * revision for all nodes, and of what stayed the same only the identity is looked at, so that the
 * effort follows what changed rather than the size of the cluster.
 */
export class AssignmentModel {
  #revision = -1;
  #snapshot: Snapshot | undefined;
  readonly #endpoints = new EndpointCache();
  #shared = new Map<string, Map<string, AssignmentItem>>();
  #ingress: string[] = [];
  /** Part → the changes that led from it to another, for all the nodes that have it. */
  readonly #changes = new WeakMap<Part, { after: Part; changes: readonly AssignmentChange[] }>();

  /**
   * Tasks from ASSIGNED until their object is gone; networks with a task of this node that has not
   * ended, and ingress networks; an endpoint from ASSIGNED until its task has ended.
   */
  stateOf(snapshot: Snapshot, nodeId: string): NodeAssignments {
    this.#refresh(snapshot);
    const tasks = new Map<string, AssignmentItem>();
    const parts = new Set([PEERS, ...this.#ingress]);
    for (const task of snapshot.tasksOfNode(nodeId)) {
      if (rankOf(task.status.state) < rankOf(TaskState.ASSIGNED)) continue;
      tasks.set(`task ${task.id}`, { $case: 'task', value: task });
      if (isTerminal(task.status.state)) continue;
      for (const { networkId } of task.networksAttachments) parts.add(networkId);
    }
    const shared = new Map<string, Part>();
    for (const id of parts) {
      const part = this.#shared.get(id);
      if (part !== undefined) shared.set(id, part);
    }
    return { tasks, shared };
  }

  /**
   * What leads from one state to another: removals, then networks before what is on them, tasks
   * last, so that a task never comes before its network.
   * @param before undefined: the node knows nothing yet
   */
  diff(before: NodeAssignments | undefined, after: NodeAssignments): AssignmentChange[] {
    const changes: AssignmentChange[] = [];
    for (const [id, part] of before?.shared ?? []) {
      if (!after.shared.has(id)) changes.push(...diffParts(part, NOTHING));
    }
    for (const [id, part] of after.shared) {
      changes.push(...this.#partChanges(before?.shared.get(id) ?? NOTHING, part));
    }
    changes.push(...diffParts(before?.tasks ?? NOTHING, after.tasks));
    return changes.sort((a, b) => orderOf(a) - orderOf(b));
  }

  #partChanges(before: Part, after: Part): readonly AssignmentChange[] {
    if (before === after) return [];
    const known = this.#changes.get(before);
    if (known?.after === after) return known.changes;
    const changes = diffParts(before, after);
    this.#changes.set(before, { after, changes });
    return changes;
  }

  #refresh(snapshot: Snapshot): void {
    if (this.#snapshot === snapshot && this.#revision === snapshot.revision) return;
    const parts = networkParts(snapshot, this.#endpoints.refresh(snapshot));
    parts.set(PEERS, peersOf(snapshot));
    for (const [id, part] of parts) parts.set(id, sameIfEqual(this.#shared.get(id), part));
    this.#shared = parts;
    this.#ingress = [...snapshot.networks()].filter((n) => n.spec.ingress).map((n) => n.id);
    this.#snapshot = snapshot;
    this.#revision = snapshot.revision;
  }
}

/** Key of the part with the peers; no id of a network looks like this. */
const PEERS = 'peers';
const NOTHING: Part = new Map();

/** The former part where nothing differs; equal items of a changed one keep their identity. */
function sameIfEqual(
  before: Map<string, AssignmentItem> | undefined,
  after: Map<string, AssignmentItem>,
): Map<string, AssignmentItem> {
  if (before === undefined) return after;
  let differs = before.size !== after.size;
  for (const [key, item] of after) {
    const old = before.get(key);
    if (old === item) continue;
    if (old !== undefined && equalData(old.value, item.value)) after.set(key, old);
    else differs = true;
  }
  return differs ? after : before;
}

function diffParts(before: Part, after: Part): AssignmentChange[] {
  const changes: AssignmentChange[] = [];
  for (const [key, item] of before) {
    if (!after.has(key)) changes.push({ action: AssignmentAction.REMOVE, item: identityOf(item) });
  }
  for (const [key, item] of after) {
    const old = before.get(key);
    if (old !== undefined && isSameForNode(old, item)) continue;
    changes.push({ action: AssignmentAction.UPDATE, item });
  }
  return changes;
}

const ORDER: Readonly<Record<AssignmentItem['$case'], number>> = {
  peer: 1,
  network: 2,
  service: 3,
  endpoint: 4,
  task: 5,
};

function orderOf({ action, item }: AssignmentChange): number {
  return action === AssignmentAction.REMOVE ? 0 : ORDER[item?.$case ?? 'task'];
}

/** A task's status is the node's own report, so it need not be told of it. */
function isSameForNode(a: AssignmentItem, b: AssignmentItem): boolean {
  if (a.value === b.value) return true;
  if (a.$case === 'task' && b.$case === 'task') return sameOrders(a.value, b.value);
  return equalData(a, b);
}

function sameOrders(a: TaskMessage, b: TaskMessage): boolean {
  return (
    a.desiredState === b.desiredState &&
    a.startAfterMs === b.startAfterMs &&
    equalData(a.spec, b.spec) &&
    equalData(a.networksAttachments, b.networksAttachments) &&
    equalData(a.hostPorts, b.hostPorts)
  );
}

/** The item with only what names it. */
function identityOf(item: AssignmentItem): AssignmentItem {
  switch (item.$case) {
    case 'task':
      return { $case: 'task', value: TaskMessage.fromPartial({ id: item.value.id }) };
    case 'network': {
      const { networkId } = item.value;
      return { $case: 'network', value: NetworkConfig.fromPartial({ networkId }) };
    }
    case 'endpoint': {
      const { networkId, taskId } = item.value;
      return { $case: 'endpoint', value: NetworkEndpoint.fromPartial({ networkId, taskId }) };
    }
    case 'service': {
      const { networkId, serviceId } = item.value;
      return { $case: 'service', value: NetworkService.fromPartial({ networkId, serviceId }) };
    }
    case 'peer':
      return { $case: 'peer', value: NetworkPeer.fromPartial({ nodeId: item.value.nodeId }) };
  }
}

/** An endpoint as an item of the part of its network. */
interface EndpointItem {
  readonly key: string;
  readonly networkId: string;
  readonly item: AssignmentItem;
}

/** Endpoints of tasks, worked out again only for tasks that changed or whose node did. */
class EndpointCache {
  #known = new Map<
    string,
    { task: Task; node: Node | undefined; items: readonly EndpointItem[] }
  >();

  *refresh(snapshot: Snapshot): Iterable<EndpointItem> {
    const before = this.#known;
    this.#known = new Map();
    for (const task of snapshot.tasks()) {
      if (task.nodeId === '') continue;
      const node = snapshot.node(task.nodeId);
      const old = before.get(task.id);
      const isKnown = old?.task === task && old.node === node;
      const items = isKnown ? old.items : endpointItems(task, node);
      this.#known.set(task.id, { task, node, items });
      yield* items;
    }
  }
}

function endpointItems(task: Task, node: Node | undefined): EndpointItem[] {
  return endpointsOf(task, node).map((value) => ({
    key: `endpoint ${value.networkId} ${value.taskId}`,
    networkId: value.networkId,
    item: { $case: 'endpoint', value },
  }));
}

function networkParts(
  snapshot: Snapshot,
  endpoints: Iterable<EndpointItem>,
): Map<string, Map<string, AssignmentItem>> {
  const parts = new Map<string, Map<string, AssignmentItem>>();
  for (const network of snapshot.networks()) {
    if (network.ipam.length === 0) continue; // not allocated yet: nobody can be on it
    const config: AssignmentItem = { $case: 'network', value: configOf(network) };
    parts.set(network.id, new Map([[`network ${network.id}`, config]]));
  }
  for (const service of snapshot.services()) {
    for (const value of servicesOf(snapshot, service)) {
      const key = `service ${value.networkId} ${value.serviceId}`;
      parts.get(value.networkId)?.set(key, { $case: 'service', value });
    }
  }
  for (const { key, networkId, item } of endpoints) parts.get(networkId)?.set(key, item);
  return parts;
}

/** A network as the nodes see it. */
export function configOf({ id, spec, ipam, vni }: Network): NetworkConfig {
  return {
    networkId: id,
    name: spec.name,
    driver: spec.driver,
    vni,
    mtuBytes: spec.mtuBytes,
    internal: spec.internal,
    ingress: spec.ingress,
    subnets: ipam.map(({ subnet, gateway }) => ({ subnet, gateway })),
    dataPathPort: 0,
    hostAccess: spec.hostAccess,
  };
}

/** A service on each network it has an address on or, without addresses of its own, asks for. */
function servicesOf(snapshot: Snapshot, service: Service): NetworkService[] {
  const configs = service.spec.taskTemplate.networks;
  const vips = new Map(service.endpoint.virtualIps.map((v) => [v.networkId, v.addr]));
  const ids = new Set([...configs.map((c) => c.target), ...vips.keys()]);
  return [...ids].map((networkId) => {
    const isIngress = snapshot.network(networkId)?.spec.ingress === true;
    const aliases = configs.find((c) => c.target === networkId)?.aliases ?? [];
    const published = service.endpoint.ports.filter((p) => p.publishMode === PublishMode.INGRESS);
    return {
      networkId,
      serviceId: service.id,
      name: service.spec.name,
      aliases: isIngress ? [] : [...new Set([...aliases, ...shortNames(service)])],
      mode: service.spec.endpointSpec.mode,
      virtualIp: withoutPrefix(vips.get(networkId) ?? ''),
      ports: isIngress ? published : [],
      sessionAffinity: service.spec.endpointSpec.sessionAffinity,
    };
  });
}

/** "web" for the service web of stack shop, which is named shop_web. */
function shortNames({ spec }: Service): string[] {
  const prefix = `${spec.labels[STACK_LABEL] ?? ''}_`;
  return prefix !== '_' && spec.name.startsWith(prefix) ? [spec.name.slice(prefix.length)] : [];
}

function endpointsOf(task: Task, node: Node | undefined): NetworkEndpoint[] {
  if (node === undefined || isTerminal(task.status.state)) return [];
  const ready = isReady(task, node);
  return task.networksAttachments.flatMap(({ networkId, addresses, aliases }) => {
    const [address] = addresses;
    if (address === undefined) return [];
    return {
      networkId,
      taskId: task.id,
      serviceId: task.serviceId,
      nodeId: task.nodeId,
      address: withoutPrefix(address),
      slot: task.slot,
      aliases,
      name: taskName(task),
      ready,
    };
  });
}

/** May receive new connections. A container with a health check is RUNNING only once healthy. */
function isReady(task: Task, node: Node): boolean {
  return (
    task.status.state === TaskState.RUNNING &&
    task.desiredState === TaskState.RUNNING &&
    node.status.state !== NodeState.DOWN
  );
}

function peersOf(snapshot: Snapshot): Map<string, AssignmentItem> {
  const peers = new Map<string, AssignmentItem>();
  for (const { id, index, description } of snapshot.nodes()) {
    const { dataPathAddress } = description;
    if (dataPathAddress === '') continue; // has not told its address yet
    const value: NetworkPeer = { nodeId: id, index, dataPathAddress };
    peers.set(`peer ${id}`, { $case: 'peer', value });
  }
  return peers;
}

function withoutPrefix(cidr: string): string {
  return cidr.split('/', 1)[0] ?? '';
}
