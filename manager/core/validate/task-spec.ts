import type { ServiceSpec, TaskSpec } from '../../../common/model/objects.js';
import { logOptions } from '../../../common/model/log-options.js';
import {
  expandContainer,
  templateDataOf,
  type TaskTemplateData,
} from '../../../common/template/task-templates.js';
import { checkContainer } from './container-spec.js';
import { checkLimits } from './limit-spec.js';
import { checkCount } from './mode-spec.js';
import { checkGeneric, checkPlacement } from './placement-spec.js';
import { checkNotNegative, type Problems } from './problem.js';

const MIN_NANO_CPUS = 1e6;
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;
/** Each task of a place carries the time of every attempt before it. */
const MAX_ATTEMPTS = 10_000;

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
  checkRestarts(spec, problems.at('restartPolicy'));
  problems.at('logDriver').try(() => logOptions(spec.logDriver));
}

/** Stands for a task on some node, so that templates that can never be expanded fail early. */
function exampleData({ name, labels }: Pick<ServiceSpec, 'name' | 'labels'>): TaskTemplateData {
  const task = { id: 'TASK', slot: 1, nodeId: 'NODE', serviceId: 'SERVICE' };
  const node = { hostname: 'HOSTNAME', os: 'linux', architecture: 'amd64' };
  return templateDataOf({ ...task, serviceName: name, serviceLabels: labels }, node);
}

function checkRestarts({ restartPolicy }: TaskSpec, problems: Problems): void {
  checkNotNegative(restartPolicy, ['delayMs', 'maxDelayMs', 'windowMs'], problems);
  checkCount(restartPolicy.maxAttempts, MAX_ATTEMPTS, problems.at('maxAttempts'));
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
    checkNotNegative({ pids }, ['pids'], at);
  }
  checkGeneric(resources.reservations.generic, problems.at('reservations'));
  checkLimits(resources.limits, problems.at('limits'));
}
