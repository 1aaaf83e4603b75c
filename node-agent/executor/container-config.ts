import { parseBytes } from '../../common/bytes.js';
import { HatobaError } from '../../common/errors.js';
import { shortId } from '../../common/model/ids.js';
import type { Task } from '../../common/model/objects.js';
import type { Sandbox, SandboxConfig } from '../../overlay-net/driver.js';
import type { LogConfig, PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import { PortProtocol } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../runtime/engine.js';

/** The label by which a container is known to belong to a task, as Docker sets it. */
export const TASK_ID_LABEL = 'com.docker.swarm.task.id';

/** What a task's container is connected to. */
export type TaskNetwork =
  | { readonly type: 'host'; readonly hostname: string }
  | { readonly type: 'sandbox'; readonly sandbox: Sandbox };

/** "web.1.0r5o6ti2zgqcg3wr1dsjz1vyf" */
export function taskName(task: Task): string {
  return task.serviceName === '' ? task.id : `${task.serviceName}.${task.slot}.${task.id}`;
}

/**
 * The container of a task. A pure function; the container's id is the task's.
 * @throws {HatobaError} invalid-argument for options that this node cannot honour
 */
export function toContainerConfig(task: Task, network: TaskNetwork): ContainerConfig {
  const { containerSpec, resources } = task.spec;
  const hostname = containerSpec.hostname !== '' ? containerSpec.hostname : defaultHostname();
  return {
    id: task.id,
    name: taskName(task),
    spec: { ...containerSpec, hostname },
    limits: resources.limits,
    netns: network.type === 'host' ? 'host' : network.sandbox.netnsPath,
    cgroupGroup: task.serviceName === '' ? 'tasks' : task.serviceName,
    dns: dnsOf(task, network),
    hosts: network.type === 'host' ? [] : ownHosts(task, hostname),
    log: logOptions(task.spec.logDriver),
    labels: labelsOf(task),
  };

  function defaultHostname(): string {
    return network.type === 'host' ? network.hostname : shortId(task.id);
  }
}

/** Names are answered by the networks; servers of the user come after them. */
function dnsOf(task: Task, network: TaskNetwork): ContainerConfig['dns'] {
  const own = task.spec.containerSpec.dnsConfig;
  const nameservers = network.type === 'host' ? [] : network.sandbox.nameservers;
  return {
    nameservers: [...nameservers, ...(own?.nameservers ?? [])],
    search: own?.search ?? [],
    options: own?.options ?? [],
  };
}

/** The container finds itself by name on each of its networks, as with Docker. */
function ownHosts(task: Task, hostname: string): ContainerConfig['hosts'] {
  const { domainname } = task.spec.containerSpec;
  const names = domainname === '' ? [hostname] : [`${hostname}.${domainname}`, hostname];
  return task.networksAttachments
    .flatMap((attachment) => attachment.addresses)
    .map((cidr) => ({ address: cidr.split('/')[0] ?? cidr, names }));
}

const DEFAULT_LOG = { maxSizeBytes: 10 * 1024 * 1024, maxFiles: 3 } as const;
const LOG_DRIVERS: ReadonlySet<string> = new Set(['', 'json-file', 'local']);

function logOptions(config: LogConfig | undefined): ContainerConfig['log'] {
  if (config === undefined) return DEFAULT_LOG;
  if (!LOG_DRIVERS.has(config.name)) {
    throw new HatobaError(
      'invalid-argument',
      `log driver "${config.name}" is not known: use "local" or "json-file"`,
    );
  }
  const { 'max-size': maxSize, 'max-file': maxFile } = config.options;
  return {
    maxSizeBytes: maxSize === undefined ? DEFAULT_LOG.maxSizeBytes : logSize(maxSize),
    maxFiles: maxFile === undefined ? DEFAULT_LOG.maxFiles : logFiles(maxFile),
  };
}

function logSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes > 0) return bytes;
  throw new HatobaError('invalid-argument', `log option max-size "${text}" must be above 0`);
}

function logFiles(text: string): number {
  const files = Number(text);
  if (Number.isInteger(files) && files >= 1 && files <= 1000) return files;
  throw new HatobaError('invalid-argument', `log option max-file "${text}" is not from 1 to 1000`);
}

function labelsOf(task: Task): Record<string, string> {
  return {
    ...task.spec.containerSpec.labels,
    [TASK_ID_LABEL]: task.id,
    'com.docker.swarm.task.name': taskName(task),
    'com.docker.swarm.service.id': task.serviceId,
    'com.docker.swarm.service.name': task.serviceName,
    'com.docker.swarm.node.id': task.nodeId,
  };
}

/**
 * The sandbox of a task, or undefined when it uses the host's own network.
 * @param driverOf network driver by network id
 * @throws {HatobaError} invalid-argument when an attachment has no address
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
  };
}

const PROTOCOL: Readonly<Record<PortProtocol, 'tcp' | 'udp' | 'sctp'>> = {
  [PortProtocol.TCP]: 'tcp',
  [PortProtocol.UDP]: 'udp',
  [PortProtocol.SCTP]: 'sctp',
};

function toHostPort(port: PortConfig): SandboxConfig['hostPorts'][number] {
  const { hostIp, publishedPort, targetPort } = port;
  return { protocol: PROTOCOL[port.protocol], hostIp, publishedPort, targetPort };
}
