import { HatobaError } from '../../common/errors.js';
import { shortId } from '../../common/model/ids.js';
import type { Task } from '../../common/model/objects.js';
import { taskName } from '../../common/model/task-place.js';
import {
  expandContainer,
  templateDataOf,
  type TemplateNode,
} from '../../common/template/task-templates.js';
import type { Sandbox, SandboxConfig } from '../../overlay-net/driver.js';
import type { ContainerConfig } from '../../runtime/engine.js';
import { genericResourceEnv } from '../core/generic-resources.js';
import { containerDns, toSandboxDns } from './container-dns.js';
import { toHostPort } from './host-ports.js';
import { logOptions } from '../../common/model/log-options.js';
import { addressOf } from '../../overlay-net/core/ipam.js';

/** The label by which a container is known to belong to a task, as Docker sets it. */
export const TASK_ID_LABEL = 'com.docker.swarm.task.id';
export const TASK_NAME_LABEL = 'com.docker.swarm.task.name';
export const SERVICE_NAME_LABEL = 'com.docker.swarm.service.name';

/** What a task's container is connected to. */
export type TaskNetwork =
  | { readonly type: 'host'; readonly hostname: string }
  | { readonly type: 'sandbox'; readonly sandbox: Sandbox };

/** "web.1.0r5o6ti2zgqcg3wr1dsjz1vyf"; without a service its id. */
export function containerName(task: Task): string {
  return task.serviceName === '' ? task.id : taskName(task);
}

/**
 * The task with the templates of its spec expanded, as they are on this node.
 * @throws {HatobaError} invalid-argument with all that cannot be
 */
export function expandTask(task: Task, node: TemplateNode): Task {
  const mistakes: string[] = [];
  const data = templateDataOf(task, node);
  const containerSpec = expandContainer(task.spec.containerSpec, data, (path, { message }) => {
    mistakes.push(`${path}: ${message}`);
  });
  if (mistakes.length > 0) throw new HatobaError('invalid-argument', mistakes.join('\n'));
  return { ...task, spec: { ...task.spec, containerSpec } };
}

/**
 * The container of a task, whose spec has no templates left. A pure function; the container's id is
 * the task's.
 * @throws {HatobaError} invalid-argument for options that this node cannot honour
 */
export function toContainerConfig(task: Task, network: TaskNetwork): ContainerConfig {
  const { containerSpec, resources } = task.spec;
  const hostname = containerSpec.hostname !== '' ? containerSpec.hostname : defaultHostname();
  const genericEnv = genericResourceEnv(task.assignedGenericResources);
  return {
    id: task.id,
    name: containerName(task),
    spec: { ...containerSpec, hostname, env: [...containerSpec.env, ...genericEnv] },
    limits: resources.limits,
    netns: network.type === 'host' ? 'host' : network.sandbox.netnsPath,
    cgroupGroup: task.serviceName === '' ? 'tasks' : task.serviceName,
    dns: containerDns(
      containerSpec.dnsConfig,
      network.type === 'host' ? [] : network.sandbox.nameservers,
    ),
    hosts: network.type === 'host' || hostname === '' ? [] : ownHosts(task, hostname),
    log: logOptions(task.spec.logDriver),
    labels: labelsOf(task),
  };

  function defaultHostname(): string {
    if (containerSpec.utsMode === 'host') return ''; // it has its machine's
    return network.type === 'host' ? network.hostname : shortId(task.id);
  }
}

/** The container finds itself by name on each of its networks, as with Docker. */
function ownHosts(task: Task, hostname: string): ContainerConfig['hosts'] {
  const { domainname } = task.spec.containerSpec;
  const names = domainname === '' ? [hostname] : [`${hostname}.${domainname}`, hostname];
  return addressesOf(task).map((address) => ({ address, names }));
}

/** The addresses of a task on its networks, "10.0.1.7". */
export function addressesOf(task: Task): string[] {
  return task.networksAttachments.flatMap((attachment) => attachment.addresses).map(addressOf);
}

function labelsOf(task: Task): Record<string, string> {
  return {
    ...task.spec.containerSpec.labels,
    [TASK_ID_LABEL]: task.id,
    [TASK_NAME_LABEL]: containerName(task),
    'com.docker.swarm.service.id': task.serviceId,
    [SERVICE_NAME_LABEL]: task.serviceName,
    'com.docker.swarm.node.id': task.nodeId,
  };
}

/**
 * The sandbox of a task, or undefined when it uses the host's own network.
 * @param driverOf network driver by network id
 * @throws {HatobaError} invalid-argument when an attachment has no address, or a DNS server is none
 */
export function toSandboxConfig(
  task: Task,
  driverOf: (networkId: string) => string | undefined,
): SandboxConfig | undefined {
  const drivers = task.networksAttachments.map((a) => driverOf(a.networkId));
  if (drivers.includes('host')) return undefined;
  return {
    id: task.id,
    attachments: task.networksAttachments
      .filter((_, index) => drivers[index] !== 'none')
      .map(({ networkId, networkName, addresses }) => {
        const [address] = addresses;
        if (address !== undefined) return { networkId, address };
        throw new HatobaError('invalid-argument', `task has no address on network ${networkName}`);
      }),
    hostPorts: task.hostPorts.map(toHostPort),
    ...toSandboxDns(task.spec.containerSpec.dnsConfig),
  };
}
