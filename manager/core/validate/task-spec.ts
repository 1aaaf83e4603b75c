import type { ServiceSpec, TaskSpec } from '../../../common/model/objects.js';
import {
  expandContainer,
  isTemplate,
  templateDataOf,
  type TaskTemplateData,
} from '../../../common/template/task-templates.js';
import {
  MountType,
  type ContainerSpec,
  type HealthConfig,
  type Mount,
} from '../../../proto/gen/hatoba/v1/types.js';
import { checkDns } from './dns-spec.js';
import { checkIsolation } from './isolation-spec.js';
import { checkLimits } from './limit-spec.js';
import { checkGeneric, checkPlacement } from './placement-spec.js';
import type { Problems } from './problem.js';

const MIN_NANO_CPUS = 1e6;
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;

/** host[:port]/path:tag@digest, Docker's grammar in outline; the registry has the last word. */
const IMAGE =
  /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$/;
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** @param service whose tasks these are: what templates may ask for */
export function checkTaskTemplate(
  spec: TaskSpec,
  service: Pick<ServiceSpec, 'name' | 'labels'>,
  problems: Problems,
): void {
  const container = problems.at('containerSpec');
  const data = exampleData(service);
  const expanded = expandContainer(spec.containerSpec, data, (path, error) => {
    container.at(path).add(error.message, error.kind);
  });
  checkContainer(expanded, container);
  checkResources(spec, problems.at('resources'));
  checkPlacement(spec, problems);
  const restart = problems.at('restartPolicy');
  notNegative(restart, 'delayMs', spec.restartPolicy.delayMs);
  notNegative(restart, 'windowMs', spec.restartPolicy.windowMs);
}

/** Stands for a task on some node, so that templates that can never be expanded fail early. */
function exampleData({ name, labels }: Pick<ServiceSpec, 'name' | 'labels'>): TaskTemplateData {
  const task = { id: 'TASK', slot: 1, nodeId: 'NODE', serviceId: 'SERVICE' };
  const node = { hostname: 'HOSTNAME', os: 'linux', architecture: 'amd64' };
  return templateDataOf({ ...task, serviceName: name, serviceLabels: labels }, node);
}

function notNegative(problems: Problems, field: string, value: number | undefined): void {
  if (value !== undefined && value < 0) problems.at(field).add(`${value} must not be negative`);
}

function checkContainer(spec: ContainerSpec, problems: Problems): void {
  const image = problems.at('image');
  if (spec.image === '') image.add('an image is required');
  else image.require(IMAGE.test(spec.image), `"${spec.image}" is not an image reference`);
  spec.env.forEach((entry, i) => {
    problems.at(`env[${i}]`).require(/^[^=]/.test(entry), `"${entry}" is not NAME=value`);
  });
  notNegative(problems, 'stopGracePeriodMs', spec.stopGracePeriodMs);
  notNegative(problems, 'shmSizeBytes', spec.shmSizeBytes);
  spec.ulimits.forEach(({ soft, hard, name }, i) => {
    const isRight = hard === -1 || (soft !== -1 && soft <= hard);
    problems.at(`ulimits[${i}]`).require(isRight, `soft limit ${soft} of ${name} is above ${hard}`);
  });
  if (spec.healthcheck !== undefined) checkHealth(spec.healthcheck, problems.at('healthcheck'));
  if (spec.dnsConfig !== undefined) checkDns(spec.dnsConfig, problems.at('dnsConfig'));
  checkMounts(spec.mounts, problems);
  checkIsolation(spec, problems);
}

function checkHealth(health: HealthConfig, problems: Problems): void {
  for (const field of ['intervalMs', 'timeoutMs', 'startPeriodMs', 'startIntervalMs'] as const) {
    notNegative(problems, field, health[field]);
  }
  const [kind, ...rest] = health.test;
  if (kind === undefined) return;
  const test = problems.at('test');
  if (kind === 'NONE') test.require(rest.length === 0, 'NONE takes no arguments');
  else if (kind === 'CMD-SHELL') test.require(rest.length === 1, 'CMD-SHELL takes one argument');
  else if (kind === 'CMD') test.require(rest.length > 0, 'CMD needs a command');
  else test.add(`begins with "${kind}" instead of NONE, CMD or CMD-SHELL`);
}

function checkMounts(mounts: readonly Mount[], problems: Problems): void {
  const targets = new Set<string>();
  mounts.forEach((mount, i) => {
    const at = problems.at(`mounts[${i}]`);
    checkSource(mount, at.at('source'));
    const target = at.at('target');
    if (isTemplate(mount.target)) return; // which is wrong by itself
    target.require(mount.target.startsWith('/'), `"${mount.target}" is not an absolute path`);
    target.require(!targets.has(mount.target), `"${mount.target}" is mounted twice`);
    targets.add(mount.target);
  });
}

function checkSource({ type, source }: Mount, problems: Problems): void {
  if (isTemplate(source)) return;
  switch (type) {
    case MountType.BIND:
      problems.require(source.startsWith('/'), `"${source}" is not an absolute path`);
      return;
    case MountType.VOLUME:
      problems.require(
        source === '' || VOLUME_NAME.test(source),
        `"${source}" is not a volume name`,
      );
      return;
    case MountType.TMPFS:
      problems.require(source === '', 'a tmpfs has no source');
  }
}

function checkResources({ resources }: TaskSpec, problems: Problems): void {
  for (const part of ['limits', 'reservations'] as const) {
    const at = problems.at(part);
    const { nanoCpus, memoryBytes, pids } = resources[part];
    at.at('nanoCpus').require(
      nanoCpus === 0 || nanoCpus >= MIN_NANO_CPUS,
      `${nanoCpus / 1e9} CPUs are below the least possible, 0.001`,
    );
    at.at('memoryBytes').require(
      memoryBytes === 0 || memoryBytes >= MIN_MEMORY_BYTES,
      `${memoryBytes} bytes are below the least possible, 4 MiB`,
    );
    notNegative(at, 'pids', pids);
  }
  checkGeneric(resources.reservations.generic, problems.at('reservations'));
  checkLimits(resources.limits, problems.at('limits'));
}
