import { formatBytes } from '../../../common/bytes.js';
import type { ServiceSpec } from '../../../common/model/objects.js';
import { isAddress } from '../../../overlay-net/core/ipam.js';
import {
  EndpointMode,
  PublishMode,
  ServiceSpec as ServiceSpecMessage,
  UpdateFailureAction,
  type NetworkAttachmentConfig,
  type PortConfig,
  type UpdateConfig,
} from '../../../proto/gen/hatoba/v1/types.js';
import { portTableOf, portText, type PortTable } from '../allocator/ports.js';
import { DEFAULT_RESTART_DELAY_MS } from '../orchestrator/plan-restart.js';
import type { Snapshot } from '../snapshot.js';
import { checkName, Problems, type Problem } from './problem.js';
import { checkTaskTemplate } from './task-spec.js';

export const DEFAULT_MONITOR_MS = 5000;
export const DEFAULT_STOP_GRACE_MS = 10_000;
/** Against a slip of the finger: a service of more would only fill the store. */
export const MAX_REPLICAS = 100_000;
/** Each task carries the spec, and a service two: what the store can hold in one step. */
export const MAX_SPEC_BYTES = 256 * 1024;

/** What is known beside the snapshot when a spec is checked. */
export interface ServiceContext {
  /** The service the spec is for, if it exists; its own name and ports are no conflict. */
  serviceId?: string;
  /** Networks that come into being together with the service. */
  newNetworks?: ReadonlySet<string>;
  /** Who publishes what; by default, all services of the snapshot. */
  ports?: PortTable;
}

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
  checkMode(spec, problems.at('mode'));
  checkTaskTemplate(spec.taskTemplate, problems.at('taskTemplate'));
  const { networks } = spec.taskTemplate;
  networks.forEach((network, i) => {
    const at = problems.at(`taskTemplate.networks[${i}]`);
    checkNetwork(network, snapshot, context, at);
    at.require(
      networks.findIndex((n) => n.target === network.target) === i,
      `network ${network.target} is named twice`,
    );
  });
  checkUpdateConfig(spec.updateConfig, problems.at('updateConfig'));
  checkUpdateConfig(spec.rollbackConfig, problems.at('rollbackConfig'));
  if (spec.rollbackConfig.failureAction === UpdateFailureAction.ROLLBACK) {
    problems
      .at('rollbackConfig.failureAction')
      .add('a rollback cannot be rolled back: use pause or continue');
  }
  checkPorts(spec, snapshot, context, problems.at('endpointSpec'));
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

function checkMode({ mode }: ServiceSpec, problems: Problems): void {
  if (mode.$case !== 'replicated') {
    const word = { global: 'global', replicatedJob: 'replicated-job', globalJob: 'global-job' };
    problems.add(`mode ${word[mode.$case]} is not offered yet: use replicated`, 'unimplemented');
    return;
  }
  const { replicas } = mode.value;
  problems
    .at('replicas')
    .require(
      Number.isInteger(replicas) && replicas >= 0 && replicas <= MAX_REPLICAS,
      `${replicas} is not between 0 and ${MAX_REPLICAS}`,
    );
}

function checkNetwork(
  config: NetworkAttachmentConfig,
  snapshot: Snapshot,
  context: ServiceContext,
  problems: Problems,
): void {
  config.aliases.forEach((alias, i) => {
    checkName(alias, problems.at(`aliases[${i}]`));
  });
  if (context.newNetworks?.has(config.target) === true) return;
  const network = [...snapshot.networks()].find(
    (n) => n.id === config.target || n.spec.name === config.target,
  );
  const at = problems.at('target');
  if (network === undefined) at.add(`there is no network ${config.target}`, 'not-found');
  else if (network.pendingDelete) {
    at.add(`network ${network.spec.name} is being removed`, 'failed-precondition');
  } else if (network.spec.ingress) {
    at.add(`services join network ${network.spec.name} by publishing ports, not by name`);
  } else if (network.spec.driver !== 'overlay') {
    at.add(
      `network ${network.spec.name} has driver ${network.spec.driver}: services need overlay`,
      'unimplemented',
    );
  }
}

function checkUpdateConfig(config: UpdateConfig, problems: Problems): void {
  for (const field of ['delayMs', 'monitorMs'] as const) {
    problems.at(field).require(config[field] >= 0, `${config[field]} must not be negative`);
  }
  const { maxFailureRatio } = config;
  problems
    .at('maxFailureRatio')
    .require(
      maxFailureRatio >= 0 && maxFailureRatio <= 1,
      `${maxFailureRatio} is not between 0 and 1`,
    );
}

function checkPorts(
  { name, endpointSpec }: ServiceSpec,
  snapshot: Snapshot,
  context: ServiceContext,
  problems: Problems,
): void {
  const table = context.ports ?? portTableOf(snapshot.services());
  endpointSpec.ports.forEach((port, i) => {
    const at = problems.at(`ports[${i}]`);
    checkPort(port, at);
    const isIngress = port.publishMode === PublishMode.INGRESS;
    if (isIngress && endpointSpec.mode === EndpointMode.DNSRR) {
      at.add('endpoint mode dnsrr cannot publish in ingress mode: use mode host, or vip');
    }
    if (port.publishedPort === 0) return;
    const holder = table.conflict(context.serviceId ?? '', port);
    if (holder !== undefined) {
      const what = `port ${portText(port)} is already published by service ${holder.serviceName}`;
      at.add(what, 'already-exists');
    }
    // Within a service every task would bind the port, so even host mode excludes itself.
    const twice = endpointSpec.ports
      .slice(0, i)
      .some(
        (p) =>
          p.publishedPort === port.publishedPort &&
          p.protocol === port.protocol &&
          (p.hostIp === '' || port.hostIp === '' || p.hostIp === port.hostIp),
      );
    at.require(!twice, `port ${portText(port)} is published twice by service ${name}`);
  });
}

function checkPort(port: PortConfig, problems: Problems): void {
  const isPort = (n: number): boolean => n >= 1 && n <= 65_535;
  const { targetPort, publishedPort, publishMode, hostIp } = port;
  problems
    .at('targetPort')
    .require(isPort(targetPort), `${targetPort} is not a port between 1 and 65535`);
  const published = problems.at('publishedPort');
  if (publishedPort === 0) {
    if (publishMode === PublishMode.HOST) {
      published.add(
        'mode host needs a published port: one chosen by the node is not offered yet',
        'unimplemented',
      );
    }
  } else {
    published.require(isPort(publishedPort), `${publishedPort} is not a port between 1 and 65535`);
  }
  if (hostIp !== '') checkHostIp(port, problems.at('hostIp'));
}

function checkHostIp(port: PortConfig, problems: Problems): void {
  const { hostIp, publishMode } = port;
  if (!isAddress(hostIp)) problems.add(`"${hostIp}" is not an IPv4 address`);
  else if (publishMode === PublishMode.INGRESS) {
    problems.add(
      `port ${portText(port)} cannot be bound to ${hostIp} in mode ingress, which answers on every ` +
        'address of every node: use mode host, or leave the address out',
    );
  }
}
