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

/** Everything one node must know, by the identity of the item ("endpoint <network> <task>"). */
export type NodeAssignments = ReadonlyMap<string, AssignmentItem>;

/** What every node that has a network must know of it. */
interface NetworkItems {
  readonly config: AssignmentItem;
  readonly items: Map<string, AssignmentItem>;
}

/**
 * Says what each node must know: its tasks, the networks they are on with all endpoints and
 * services there, and the peers. The parts that nodes share are worked out once per revision and
 * are the same objects for all; what did not change stays the same object from one revision to the
 * next, so that comparing is cheap.
 */
export class AssignmentModel {
  #revision = -1;
  #snapshot: Snapshot | undefined;
  #networks = new Map<string, NetworkItems>();
  #peers = new Map<string, AssignmentItem>();
  #ingress: string[] = [];

  /**
   * Tasks from ASSIGNED until their object is gone; networks with a task of this node that has not
   * ended, and ingress networks; an endpoint from ASSIGNED until its task has ended.
   */
  stateOf(snapshot: Snapshot, nodeId: string): NodeAssignments {
    this.#refresh(snapshot);
    const state = new Map(this.#peers);
    const networks = new Set(this.#ingress);
    for (const task of snapshot.tasksOfNode(nodeId)) {
      if (rankOf(task.status.state) < rankOf(TaskState.ASSIGNED)) continue;
      state.set(`task ${task.id}`, { $case: 'task', value: task });
      if (isTerminal(task.status.state)) continue;
      for (const { networkId } of task.networksAttachments) networks.add(networkId);
    }
    for (const id of networks) {
      const network = this.#networks.get(id);
      if (network === undefined) continue;
      state.set(`network ${id}`, network.config);
      for (const [key, item] of network.items) state.set(key, item);
    }
    return state;
  }

  diff(before: NodeAssignments | undefined, after: NodeAssignments): AssignmentChange[] {
    return diffAssignments(before, after);
  }

  #refresh(snapshot: Snapshot): void {
    if (this.#snapshot === snapshot && this.#revision === snapshot.revision) return;
    const previous = this.#networks;
    this.#networks = networkItems(snapshot);
    for (const [id, network] of this.#networks) reuse(previous.get(id)?.items, network.items);
    const peers = peersOf(snapshot);
    reuse(this.#peers, peers);
    this.#peers = peers;
    this.#ingress = [...snapshot.networks()].filter((n) => n.spec.ingress).map((n) => n.id);
    this.#snapshot = snapshot;
    this.#revision = snapshot.revision;
  }
}

/** Puts the old object in the place of an equal new one. */
function reuse(
  before: ReadonlyMap<string, AssignmentItem> | undefined,
  after: Map<string, AssignmentItem>,
): void {
  if (before === undefined) return;
  for (const [key, item] of after) {
    const old = before.get(key);
    if (old !== undefined && equalData(old.value, item.value)) after.set(key, old);
  }
}

/**
 * What leads from one state to another, networks before what is on them, tasks last, so that a
 * task never comes before its network; removals before all else.
 * @param before undefined: the node knows nothing yet
 */
export function diffAssignments(
  before: NodeAssignments | undefined,
  after: NodeAssignments,
): AssignmentChange[] {
  const changes: AssignmentChange[] = [];
  for (const [key, item] of before ?? []) {
    if (!after.has(key)) changes.push({ action: AssignmentAction.REMOVE, item: identityOf(item) });
  }
  const updates: AssignmentChange[] = [];
  for (const [key, item] of after) {
    const old = before?.get(key);
    if (old !== undefined && isSameForNode(old, item)) continue;
    updates.push({ action: AssignmentAction.UPDATE, item });
  }
  updates.sort((a, b) => ORDER[a.item?.$case ?? 'task'] - ORDER[b.item?.$case ?? 'task']);
  return [...changes, ...updates];
}

const ORDER: Readonly<Record<AssignmentItem['$case'], number>> = {
  peer: 0,
  network: 1,
  service: 2,
  endpoint: 3,
  task: 4,
};

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

function networkItems(snapshot: Snapshot): Map<string, NetworkItems> {
  const networks = new Map<string, NetworkItems>();
  for (const network of snapshot.networks()) {
    if (network.ipam === undefined) continue; // not allocated yet: nobody can be on it
    const config: AssignmentItem = { $case: 'network', value: configOf(network) };
    networks.set(network.id, { config, items: new Map() });
  }
  for (const service of snapshot.services()) {
    for (const item of servicesOf(snapshot, service)) {
      const key = `service ${item.networkId} ${item.serviceId}`;
      networks.get(item.networkId)?.items.set(key, { $case: 'service', value: item });
    }
  }
  for (const task of snapshot.tasks()) {
    for (const item of endpointsOf(snapshot, task)) {
      const key = `endpoint ${item.networkId} ${item.taskId}`;
      networks.get(item.networkId)?.items.set(key, { $case: 'endpoint', value: item });
    }
  }
  return networks;
}

function configOf({ id, spec, ipam, vni }: Network): NetworkConfig {
  return {
    networkId: id,
    name: spec.name,
    driver: spec.driver,
    subnet: ipam?.subnet ?? '',
    gateway: ipam?.gateway ?? '',
    vni,
    mtuBytes: spec.mtuBytes,
    internal: spec.internal,
    ingress: spec.ingress,
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
    };
  });
}

/** "web" for the service web of stack shop, which is named shop_web. */
function shortNames({ spec }: Service): string[] {
  const prefix = `${spec.labels[STACK_LABEL] ?? ''}_`;
  return prefix !== '_' && spec.name.startsWith(prefix) ? [spec.name.slice(prefix.length)] : [];
}

function endpointsOf(snapshot: Snapshot, task: Task): NetworkEndpoint[] {
  if (task.nodeId === '' || isTerminal(task.status.state)) return [];
  const node = snapshot.node(task.nodeId);
  if (node === undefined) return [];
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
