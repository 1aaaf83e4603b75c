import { completionsOf, isJob } from '../../common/model/service-modes.js';
import { placeName } from '../../common/model/task-place.js';
import { toWord } from '../../common/model/words.js';
import type { Node, Service, Stack, Task } from '../../common/model/objects.js';
import type { Image, PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import { STACK_LABEL } from '../../common/model/labels.js';
import { taintText } from '../words/taints.js';

/** The JSON forms of the listings. Their fields are fixed; tests and scripts count on them. */

export type NodeRow = ReturnType<typeof nodeRow>;
export function nodeRow(node: Node) {
  return {
    id: node.id,
    hostname: node.description.hostname,
    address: node.status.addr,
    role: toWord(node.spec.role),
    availability: toWord(node.spec.availability),
    state: toWord(node.status.state),
    leader: node.managerStatus?.leader ?? false,
    message: node.status.message,
    engineVersion: node.description.engine.engineVersion,
    labels: node.spec.labels,
    name: node.spec.name,
    taints: node.spec.taints.map(taintText),
    engineLabels: node.description.engine.labels,
  };
}

export type ServiceRow = ReturnType<typeof serviceRow>;
export function serviceRow(service: Service) {
  const { updateStatus } = service;
  return {
    id: service.id,
    name: service.spec.name,
    mode: MODE_WORDS[service.spec.mode.$case],
    image: service.spec.taskTemplate.containerSpec.image,
    replicas: {
      desired: service.serviceStatus?.desiredTasks ?? 0,
      running: service.serviceStatus?.runningTasks ?? 0,
    },
    completions: isJob(service)
      ? { completed: service.serviceStatus?.completedTasks ?? 0, total: completionsOf(service) }
      : null,
    ports: service.endpoint.ports.map(portText),
    updateStatus: {
      state: updateStatus === undefined ? '' : toWord(updateStatus.state),
      message: updateStatus?.message ?? '',
    },
    stack: service.spec.labels[STACK_LABEL] ?? '',
  };
}

/** "2/3", of a job as docker has it: "0/1 (3/3 completed)". */
export function replicasText({
  replicas,
  completions,
}: Pick<ServiceRow, 'replicas' | 'completions'>): string {
  const running = `${replicas.running}/${replicas.desired}`;
  if (completions === null) return running;
  return `${running} (${completions.completed}/${completions.total} completed)`;
}

const MODE_WORDS = {
  replicated: 'replicated',
  global: 'global',
  replicatedJob: 'replicated-job',
  globalJob: 'global-job',
} as const;

/** "*:8080->80/tcp". */
export function portText(port: PortConfig): string {
  const host = port.hostIp === '' ? '*' : port.hostIp;
  const mode = port.publishMode === 'PUBLISH_MODE_HOST' ? ' (host)' : '';
  return `${host}:${port.publishedPort}->${port.targetPort}/${toWord(port.protocol)}${mode}`;
}

export type TaskRow = ReturnType<typeof taskRow>;
export function taskRow(task: Task, hostnames: ReadonlyMap<string, string>) {
  const { status } = task;
  return {
    id: task.id,
    name: placeName(task),
    service: task.serviceName,
    slot: task.slot,
    generation: task.generation,
    revision: task.specVersion,
    nodeId: task.nodeId,
    node: hostnames.get(task.nodeId) ?? task.nodeId,
    image: task.spec.containerSpec.image,
    desiredState: toWord(task.desiredState),
    state: toWord(status.state),
    message: status.message,
    error: status.err,
    exitCode: status.containerStatus.exitCode ?? null,
    cause: task.cause,
    desiredReason: task.desiredReason,
    addresses: task.networksAttachments.map((a) => ({
      network: a.networkName,
      ip: (a.addresses[0] ?? '').replace(/\/\d+$/, ''),
    })),
    createdAt: timeText(task.createdAtMs),
    startedAt: timeText(status.runningAtMs),
    stateChangedAt: timeText(status.timestampMs),
    containerId: status.containerStatus.containerId,
    pid: status.containerStatus.pid,
  };
}

export type StackRow = ReturnType<typeof stackRow>;
export function stackRow(stack: Stack, services: number) {
  return {
    id: stack.id,
    name: stack.spec.name,
    services,
    createdAt: timeText(stack.createdAtMs),
    updatedAt: timeText(stack.updatedAtMs),
  };
}

export type ImageRow = ReturnType<typeof imageRow>;
export function imageRow(image: Image, nodes: readonly string[]) {
  return {
    id: image.id,
    tags: image.repoTags,
    digests: image.repoDigests,
    sizeBytes: image.sizeBytes,
    platform: `${image.os}/${image.architecture}`,
    createdAt: timeText(image.createdAtMs),
    nodes,
  };
}

/** RFC 3339, or null for "never". */
export function timeText(ms: number): string | null {
  return ms === 0 ? null : new Date(ms).toISOString();
}

/** "3 minutes ago". */
export function agoText(time: string | null, nowMs: number): string {
  if (time === null) return '';
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(time)) / 1000));
  const [count, unit] =
    seconds < 60
      ? [seconds, 'second']
      : seconds < 3600
        ? [Math.floor(seconds / 60), 'minute']
        : seconds < 172_800
          ? [Math.floor(seconds / 3600), 'hour']
          : [Math.floor(seconds / 86_400), 'day'];
  return `${count} ${unit}${count === 1 ? '' : 's'} ago`;
}
