import type { Network, Node, Service, Task } from '../../../common/model/objects.js';
import { taskName } from '../../../common/model/task-place.js';
import { isWanted, rankOf } from '../../../common/model/task-state.js';
import type { ClusterObjects } from './cluster-objects.js';

/** A task or a container of one node, with its address on a network. */
export interface Endpoint {
  networkId: string;
  /** Empty for a container of one node. */
  serviceId: string;
  nodeId: string;
  address: string;
  slot: number;
  name: string;
  aliases: readonly string[];
  ready: boolean;
}

/** "10.0.1.7/24" → "10.0.1.7". */
export function bare(cidr: string): string {
  return cidr.replace(/\/\d+$/, '');
}

/** Who has an address on which network, by what the store says of tasks and containers. */
export function endpointsOf({ nodes, tasks, containers }: ClusterObjects): Endpoint[] {
  const byId = new Map(nodes.map((n) => [n.id, n]));
  const ofTasks = tasks.flatMap((task) => taskEndpoints(task, byId.get(task.nodeId)));
  const ofContainers = [...containers].flatMap(([networkId, users]) =>
    users
      .filter(({ address, nodeId }) => address !== '' && !isDown(byId.get(nodeId)))
      .map(({ name, nodeId, address, state }) => ({
        networkId,
        serviceId: '',
        nodeId,
        address: bare(address),
        slot: 0,
        name,
        aliases: [],
        ready: state === 'active',
      })),
  );
  return [...ofTasks, ...ofContainers];
}

/** What was on a node that is down leads nowhere, for all others. */
function isDown(node: Node | undefined): boolean {
  return node?.status.state === 'NODE_STATE_DOWN';
}

function taskEndpoints(task: Task, node: Node | undefined): Endpoint[] {
  if (node === undefined || isDown(node)) return [];
  const isRunning = task.status.state === 'TASK_STATE_RUNNING' && isWanted(task.desiredState);
  return task.networksAttachments.flatMap(({ networkId, addresses: [address], aliases }) =>
    address === undefined
      ? []
      : {
          networkId,
          serviceId: task.serviceId,
          nodeId: task.nodeId,
          address: bare(address),
          slot: task.slot,
          name: taskName(task),
          aliases,
          ready: isRunning,
        },
  );
}

/** The overlay networks that a node must have: with somebody of its own on it, or the ingress one. */
export function networksOn(objects: ClusterObjects, nodeId: string): Network[] {
  const used = new Set(
    objects.tasks
      .filter((t) => t.nodeId === nodeId && rankOf(t.status.state) >= ASSIGNED)
      .flatMap((t) => t.networksAttachments.map((a) => a.networkId)),
  );
  for (const [networkId, users] of objects.containers) {
    if (users.some((u) => u.nodeId === nodeId && u.address !== '')) used.add(networkId);
  }
  return objects.networks.filter(
    ({ id, spec, ipam }) =>
      spec.driver === 'overlay' && ipam.length > 0 && (spec.ingress || used.has(id)),
  );
}
const ASSIGNED = rankOf('TASK_STATE_ASSIGNED');

export interface VirtualService {
  service: Service;
  /** Empty where the service has none. */
  virtualIp: string;
}

/** The services on a network, by its id. */
export function servicesOn(objects: ClusterObjects, { id, spec }: Network): VirtualService[] {
  return objects.services.flatMap((service) => {
    const own = service.endpoint.virtualIps.find((v) => v.networkId === id);
    const isAsked = service.spec.taskTemplate.networks.some(
      ({ target }) => target === id || target === spec.name,
    );
    return own === undefined && !isAsked ? [] : { service, virtualIp: bare(own?.addr ?? '') };
  });
}
