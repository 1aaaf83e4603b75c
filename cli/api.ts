import type { Node, Service, ServiceRevision, Stack, Task } from '../common/model/objects.js';
import { comparePlaces, placeOf } from '../common/model/task-place.js';
import { unary } from '../proto/wire/client.js';
import {
  checkNode,
  checkService,
  checkServiceRevision,
  checkStack,
  checkTask,
} from '../proto/wire/check.js';
import type { Session } from './session.js';

/** The reads that several commands share, answers checked once. */

export async function getService({ control, signal }: Session, service: string): Promise<Service> {
  return checkService(await unary(control.getService.bind(control), { service }, { signal }));
}

/** Network id → name. */
export async function networkNames({
  control,
  signal,
}: Session): Promise<ReadonlyMap<string, string>> {
  const { networks } = await unary(control.listNetworks.bind(control), {}, { signal });
  return new Map(networks.map((n) => [n.id, n.spec?.name ?? n.id]));
}

/** The specs a service has had, the present one first. */
export async function listRevisions(
  { control, signal }: Session,
  service: string,
): Promise<ServiceRevision[]> {
  const found = await unary(control.listRevisions.bind(control), { service }, { signal });
  return found.revisions.map(checkServiceRevision);
}

/** Of one stack, or all. */
export async function listServices({ control, signal }: Session, stack = ''): Promise<Service[]> {
  const { services } = await unary(control.listServices.bind(control), { stack }, { signal });
  return services.map(checkService).sort((a, b) => a.spec.name.localeCompare(b.spec.name));
}

export async function listTasks(
  { control, signal }: Session,
  filter: { service?: string; stack?: string; node?: string; history?: boolean },
): Promise<Task[]> {
  const request = { service: '', stack: '', node: '', history: false, ...filter };
  const { tasks } = await unary(control.listTasks.bind(control), request, { signal });
  return tasks
    .map(checkTask)
    .sort(
      (a, b) =>
        a.serviceName.localeCompare(b.serviceName) ||
        comparePlaces(placeOf(a), placeOf(b)) ||
        a.generation - b.generation,
    );
}

export async function listNodes({ control, signal }: Session): Promise<Node[]> {
  const { nodes } = await unary(control.listNodes.bind(control), {}, { signal });
  return nodes
    .map(checkNode)
    .sort((a, b) => a.description.hostname.localeCompare(b.description.hostname));
}

export async function getNode({ control, signal }: Session, node: string): Promise<Node> {
  return checkNode(await unary(control.getNode.bind(control), { node }, { signal }));
}

/** Node id → hostname, for listings of tasks. */
export async function hostnames(session: Session): Promise<ReadonlyMap<string, string>> {
  return new Map((await listNodes(session)).map((n) => [n.id, n.description.hostname]));
}

export async function listStacks({ control, signal }: Session): Promise<Stack[]> {
  const { stacks } = await unary(control.listStacks.bind(control), {}, { signal });
  return stacks.map(checkStack).sort((a, b) => a.spec.name.localeCompare(b.spec.name));
}
