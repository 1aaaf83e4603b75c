import type { Network, ServiceSpec } from '../../../common/model/objects.js';
import { PublishMode, type NetworkAttachmentConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { givesAddresses } from '../allocator/plan-networks.js';
import { portText } from '../allocator/ports.js';
import type { Snapshot } from '../snapshot.js';
import { checkName, type Problems } from './problem.js';

/** What is known beside the snapshot when the networks of a service are checked. */
export interface NetworkContext {
  /** Names of networks that come into being together with the service. */
  newNetworks?: ReadonlySet<string>;
}

/** Every mistake in the networks of a service. */
export function checkNetworks(
  spec: ServiceSpec,
  snapshot: Snapshot,
  { newNetworks = new Set() }: NetworkContext,
  problems: Problems,
): void {
  const { networks } = spec.taskTemplate;
  networks.forEach((config, i) => {
    const at = problems.at(`taskTemplate.networks[${i}]`);
    config.aliases.forEach((alias, j) => {
      checkName(alias, at.at(`aliases[${j}]`));
    });
    const first = networks.findIndex((n) => n.target === config.target);
    at.require(first === i, `network ${config.target} is named twice`);
    if (newNetworks.has(config.target)) return;
    const network = findNetwork(snapshot, config.target);
    checkTarget(config, network, at.at('target'));
    if (network !== undefined && !givesAddresses(network)) {
      checkWithoutAddresses(spec, config, network, at);
    }
  });
}

function findNetwork(snapshot: Snapshot, target: string): Network | undefined {
  const known = snapshot.network(target);
  return known ?? [...snapshot.networks()].find((n) => n.spec.name === target);
}

function checkTarget(
  { target }: NetworkAttachmentConfig,
  network: Network | undefined,
  problems: Problems,
): void {
  if (network === undefined) problems.add(`there is no network ${target}`, 'not-found');
  else if (network.pendingDelete) {
    problems.add(`network ${network.spec.name} is being removed`, 'failed-precondition');
  } else if (network.spec.ingress) {
    problems.add(`services join network ${network.spec.name} by publishing ports, not by name`);
  }
}

/** The host's own network, or none: nothing else goes with them. */
function checkWithoutAddresses(
  { taskTemplate, endpointSpec }: ServiceSpec,
  { aliases }: NetworkAttachmentConfig,
  { spec: { name, driver } }: Network,
  problems: Problems,
): void {
  problems
    .at('target')
    .require(
      taskTemplate.networks.length === 1,
      `a service on network ${name} can be on no other network`,
    );
  problems.at('aliases').require(aliases.length === 0, `network ${name} has no names of its own`);
  for (const port of endpointSpec.ports) {
    if (driver === 'none') {
      problems.add(`a service without a network cannot publish port ${portText(port)}`);
    } else if (port.publishMode === PublishMode.INGRESS) {
      problems.add(
        `a service on network ${name} cannot publish port ${portText(port)} in mode ingress: its ` +
          'tasks listen on their nodes themselves; use mode host to keep them apart, or no port',
      );
    } else {
      problems.require(
        port.publishedPort === port.targetPort,
        `on network ${name} port ${portText(port)} cannot lead to another (${port.targetPort})`,
      );
    }
  }
}
