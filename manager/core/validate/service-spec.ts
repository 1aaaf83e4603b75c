import { formatBytes } from '../../../common/bytes.js';
import type { ServiceSpec } from '../../../common/model/objects.js';
import { isJobMode } from '../../../common/model/service-modes.js';
import {
  ServiceSpec as ServiceSpecMessage,
  UpdateFailureAction,
  type EndpointSpec,
  type PortConfig,
  type UpdateConfig,
} from '../../../proto/gen/hatoba/v1/types.js';
import { DEFAULT_RESTART_DELAY_MS } from '../orchestrator/restart-policy.js';
import type { Snapshot } from '../snapshot.js';
import { checkLabels } from './label-spec.js';
import { checkCount, checkMode, MAX_REPLICAS } from './mode-spec.js';
import { checkPorts, type PortContext } from './port-spec.js';
import { checkName, Problems, type Problem } from './problem.js';
import { checkNetworks, type NetworkContext } from './service-networks.js';
import { checkTaskTemplate } from './task-spec.js';

export const DEFAULT_MONITOR_MS = 5000;
export const MAX_DRAIN_MS = 3_600_000;
export const DEFAULT_STOP_GRACE_MS = 10_000;
/** Each task carries the spec, and a service two: what the store can hold in one step. */
export const MAX_SPEC_BYTES = 256 * 1024;
/** Each takes as much of the store as the spec. */
export const MAX_REVISIONS = 100;

/**
 * What is known beside the snapshot when a spec is checked; of the service it is for, if that
 * exists, its own name and ports are no conflict.
 */
export type ServiceContext = NetworkContext & PortContext;

/** The spec with Swarm's defaults where it says nothing. */
export function withDefaults(spec: ServiceSpec): ServiceSpec {
  const { taskTemplate } = spec;
  const { containerSpec, restartPolicy } = taskTemplate;
  return {
    ...spec,
    taskTemplate: {
      ...taskTemplate,
      containerSpec: {
        ...containerSpec,
        stopGracePeriodMs: containerSpec.stopGracePeriodMs ?? DEFAULT_STOP_GRACE_MS,
      },
      restartPolicy: {
        ...restartPolicy,
        delayMs: restartPolicy.delayMs ?? DEFAULT_RESTART_DELAY_MS,
      },
    },
    ...(isJobMode(spec.mode) ? {} : updatesWithDefaults(spec)),
    endpointSpec: { ...spec.endpointSpec, ports: spec.endpointSpec.ports.map(withEveryAddress) },
  };
}

/** "Every address" has one form. */
function withEveryAddress(port: PortConfig): PortConfig {
  return port.hostIp === '0.0.0.0' ? { ...port, hostIp: '' } : port;
}

function updatesWithDefaults(
  spec: ServiceSpec,
): Pick<ServiceSpec, 'updateConfig' | 'rollbackConfig'> {
  return {
    updateConfig: updateDefaults(spec.updateConfig),
    rollbackConfig: updateDefaults(spec.rollbackConfig),
  };
}

function updateDefaults(config: UpdateConfig): UpdateConfig {
  return { ...config, monitorMs: config.monitorMs === 0 ? DEFAULT_MONITOR_MS : config.monitorMs };
}

/** Every mistake in the spec, alone and beside what is in the cluster. */
export function validateServiceSpec(
  spec: ServiceSpec,
  snapshot: Snapshot,
  context: ServiceContext = {},
): Problem[] {
  const problems = new Problems();
  checkServiceName(spec, snapshot, context, problems.at('name'));
  checkMode(spec, snapshot.service(context.serviceId ?? '')?.spec.mode, problems);
  checkTaskTemplate(spec.taskTemplate, spec, problems.at('taskTemplate'));
  checkNetworks(spec, snapshot, context, problems);
  if (!isJobMode(spec.mode)) checkUpdates(spec, problems);
  const { revisionLimit } = spec;
  if (revisionLimit !== undefined) {
    checkCount(revisionLimit, MAX_REVISIONS, problems.at('revisionLimit'));
  }
  checkEndpoint(spec.endpointSpec, problems.at('endpointSpec'));
  checkPorts(spec, snapshot, context, problems.at('endpointSpec'));
  checkLabels(spec.labels, problems.at('labels'));
  const bytes = ServiceSpecMessage.encode(spec).finish().length;
  problems.require(
    bytes <= MAX_SPEC_BYTES,
    `service ${spec.name} has a definition of ${formatBytes(bytes)}; at most ${formatBytes(MAX_SPEC_BYTES)} are possible: ` +
      'put large files into the image or a volume',
  );
  return problems.list;
}

function checkServiceName(
  spec: ServiceSpec,
  snapshot: Snapshot,
  context: ServiceContext,
  problems: Problems,
): void {
  checkName(spec.name, problems);
  for (const service of snapshot.services()) {
    if (service.id === context.serviceId) {
      problems.require(
        service.spec.name === spec.name,
        `service ${service.spec.name} cannot be renamed to ${spec.name}`,
      );
    } else if (service.spec.name === spec.name) {
      const what = service.pendingDelete
        ? `service ${spec.name} is still being removed: wait until its tasks are gone`
        : `service ${spec.name} exists already`;
      problems.add(what, 'already-exists');
    }
  }
}

function checkEndpoint({ drainMs }: EndpointSpec, problems: Problems): void {
  if (drainMs === undefined) return;
  problems
    .at('drainMs')
    .require(
      Number.isInteger(drainMs) && drainMs >= 0 && drainMs <= MAX_DRAIN_MS,
      `${drainMs} is not between 0 and ${MAX_DRAIN_MS} (1 hour)`,
    );
}

function checkUpdates({ updateConfig, rollbackConfig }: ServiceSpec, problems: Problems): void {
  checkUpdateConfig(updateConfig, problems.at('updateConfig'));
  checkUpdateConfig(rollbackConfig, problems.at('rollbackConfig'));
  problems
    .at('rollbackConfig.failureAction')
    .require(
      rollbackConfig.failureAction !== UpdateFailureAction.ROLLBACK,
      'a rollback cannot be rolled back: use pause or continue',
    );
}

function checkUpdateConfig(config: UpdateConfig, problems: Problems): void {
  checkCount(config.parallelism, MAX_REPLICAS, problems.at('parallelism'));
  for (const field of ['delayMs', 'monitorMs', 'progressDeadlineMs'] as const) {
    const value = config[field] ?? 0;
    problems
      .at(field)
      .require(Number.isInteger(value) && value >= 0, `${value} must not be negative`);
  }
  const { maxFailureRatio } = config;
  problems
    .at('maxFailureRatio')
    .require(
      maxFailureRatio >= 0 && maxFailureRatio <= 1,
      `${maxFailureRatio} is not between 0 and 1`,
    );
}
