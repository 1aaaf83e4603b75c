import { shortId } from '../../../common/model/ids.js';
import { STACK_LABEL } from '../../../common/model/labels.js';
import type { Attachment, Network, Node, Service, Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import { addressOf, isAddress } from '../../../overlay-net/core/ipam.js';
import type {
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { NodeState, PublishMode, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';

/** Bytes that a tunnel adds to a packet. */
const TUNNEL_OVERHEAD_BYTES = 50;

/** What networks that span nodes have in common. */
export interface OverlayDefaults {
  /** What fits through the tunnels between all nodes; 0 while no node has told of its links. */
  readonly mtuBytes: number;
  /** 0 = the usual one. */
  readonly dataPathPort: number;
}

export function overlayDefaultsOf(snapshot: Snapshot): OverlayDefaults {
  let underlay = Infinity;
  for (const { description } of snapshot.nodes()) {
    if (description.underlayMtuBytes > 0) {
      underlay = Math.min(underlay, description.underlayMtuBytes);
    }
  }
  return {
    mtuBytes: underlay === Infinity ? 0 : Math.max(0, underlay - TUNNEL_OVERHEAD_BYTES),
    dataPathPort: snapshot.cluster()?.spec.dataPathPort ?? 0,
  };
}

/** Whether a network is one of its own on each node, though defined once for all. */
export function isPerNode({ spec }: Network): boolean {
  return spec.driver === 'bridge';
}

/** Whether a network has neither links nor addresses: the host's own, or none at all. */
export function isWithoutLinks({ spec }: Network): boolean {
  return spec.driver === 'host' || spec.driver === 'none';
}

/** A network as the nodes see it. */
export function configOf(network: Network, defaults: OverlayDefaults): NetworkConfig {
  const { id, spec, ipam, vni } = network;
  const isOverlay = !isPerNode(network) && !isWithoutLinks(network);
  return {
    networkId: id,
    name: spec.name,
    driver: spec.driver,
    vni,
    mtuBytes: spec.mtuBytes > 0 || !isOverlay ? spec.mtuBytes : defaults.mtuBytes,
    internal: spec.internal,
    ingress: spec.ingress,
    subnets: ipam.map(({ subnet, gateway }) => ({ subnet, gateway })),
    dataPathPort: isOverlay ? defaults.dataPathPort : 0,
    hostAccess: spec.hostAccess,
  };
}

/**
 * A service on each network it has an address on or, without addresses of its own, asks for.
 * @param isIngress tells ids of ingress networks from others
 */
export function servicesOf(
  service: Service,
  isIngress: (networkId: string) => boolean,
): NetworkService[] {
  const configs = service.spec.taskTemplate.networks;
  const vips = new Map(service.endpoint.virtualIps.map((v) => [v.networkId, v.addr]));
  const published = service.endpoint.ports.filter((p) => p.publishMode === PublishMode.INGRESS);
  const ids = new Set([...configs.map((c) => c.target), ...vips.keys()]);
  return [...ids].map((networkId) => {
    const aliases = configs.find((c) => c.target === networkId)?.aliases ?? [];
    const onIngress = isIngress(networkId);
    return {
      networkId,
      serviceId: service.id,
      name: service.spec.name,
      aliases: onIngress ? [] : [...new Set([...aliases, ...shortNames(service)])],
      mode: service.spec.endpointSpec.mode,
      virtualIp: addressOf(vips.get(networkId) ?? ''),
      ports: onIngress ? published : [],
      sessionAffinity: service.spec.endpointSpec.sessionAffinity,
    };
  });
}

/** "web" for the service web of stack shop, which is named shop_web. */
function shortNames({ spec }: Service): string[] {
  const prefix = `${spec.labels[STACK_LABEL] ?? ''}_`;
  return prefix !== '_' && spec.name.startsWith(prefix) ? [spec.name.slice(prefix.length)] : [];
}

/**
 * A task on each of its networks. Its container goes by the task's id, so that is known at once. None
 * on a node that is down or cannot be reached: who waits for an answer from there is to hear that nobody is left.
 */
export function endpointsOfTask(task: Task, node: Node | undefined): NetworkEndpoint[] {
  if (isLost(node) || isTerminal(task.status.state)) return [];
  const ready = isReady(task);
  return task.networksAttachments.flatMap(({ networkId, addresses, aliases }) => {
    const [address] = addresses;
    if (address === undefined) return [];
    return {
      networkId,
      taskId: task.id,
      serviceId: task.serviceId,
      nodeId: task.nodeId,
      address: addressOf(address),
      slot: task.slot,
      aliases: withId(aliases, task.id),
      name: taskName(task),
      ready,
    };
  });
}

/**
 * May receive new connections. A container with a health check is RUNNING only once healthy; one with
 * an error of its own is being stopped by its node.
 */
function isReady(task: Task): boolean {
  return (
    task.status.state === TaskState.RUNNING && task.status.err === '' && isWanted(task.desiredState)
  );
}

function isLost(node: Node | undefined): boolean {
  if (node === undefined) return true;
  return node.status.state === NodeState.DOWN || node.status.unreachable;
}

/** A container outside of services; none until it was given its address. */
export function endpointsOfAttachment(
  attachment: Attachment,
  node: Node | undefined,
): NetworkEndpoint[] {
  const { networkId, containerId, containerName, nodeId, address, aliases, active } = attachment;
  if (isLost(node) || address === '') return [];
  return [
    {
      networkId,
      taskId: containerId,
      serviceId: '',
      nodeId,
      address: addressOf(address),
      slot: 0,
      aliases: withId(aliases, containerId),
      name: containerName,
      ready: active,
    },
  ];
}

/**
 * The other ends of the tunnels: nodes that have told their address. Tunnels are of IPv4: a node
 * without such an address has none, and must not keep the others from theirs.
 */
export function peersOf(snapshot: Snapshot): NetworkPeer[] {
  return [...snapshot.nodes()]
    .filter(({ description }) => isAddress(description.dataPathAddress))
    .map(({ id, index, description }) => ({
      nodeId: id,
      index,
      dataPathAddress: description.dataPathAddress,
    }));
}

/** As with Docker, a container answers to the beginning of its id too. */
function withId(aliases: readonly string[], containerId: string): string[] {
  return [...new Set([...aliases, shortId(containerId)])];
}
