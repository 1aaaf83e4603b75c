import type { ServiceSpec } from '../../../common/model/objects.js';
import { isAddress } from '../../../overlay-net/core/ipam.js';
import { EndpointMode, PublishMode, type PortConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { addressesMeet, holderOfPort, NodePorts } from '../allocator/node-ports.js';
import { portTableOf, portText, type PortTable } from '../allocator/ports.js';
import type { Snapshot } from '../snapshot.js';
import type { Problems } from './problem.js';

/** What is known beside the snapshot when ports are checked. */
export interface PortContext {
  /** The service the ports are of, if it exists. */
  serviceId?: string;
  /** Who publishes what; by default, all services of the snapshot. */
  ports?: PortTable;
}

/** Every mistake in the ports of a service, alone and beside what is in the cluster. */
export function checkPorts(
  { name, endpointSpec }: ServiceSpec,
  snapshot: Snapshot,
  context: PortContext,
  problems: Problems,
): void {
  const { ports, mode } = endpointSpec;
  if (ports.length === 0) return;
  const table = context.ports ?? portTableOf(snapshot.services());
  const onNodes = new NodePorts(snapshot);
  ports.forEach((port, i) => {
    const at = problems.at(`ports[${i}]`);
    checkPort(port, at);
    const isIngress = port.publishMode === PublishMode.INGRESS;
    if (isIngress && mode === EndpointMode.DNSRR) {
      at.add('endpoint mode dnsrr cannot publish in ingress mode: use mode host, or vip');
    }
    if (port.publishedPort === 0) return;
    const holder = table.conflict(context.serviceId ?? '', port);
    if (holder !== undefined) {
      const what = `port ${portText(port)} is already published by service ${holder.serviceName}`;
      at.add(what, 'already-exists');
    }
    if (isIngress) checkNodes(port, snapshot, { ...context, onNodes }, at);
    // Within a service every task would bind the port, so even host mode excludes itself.
    const twice = ports
      .slice(0, i)
      .some(
        (p) =>
          p.publishedPort === port.publishedPort &&
          p.protocol === port.protocol &&
          addressesMeet(p.hostIp, port.hostIp),
      );
    at.require(!twice, `port ${portText(port)} is published twice by service ${name}`);
  });
}

/** What the service publishes already is its own, whoever has come to listen there since. */
function checkNodes(
  port: PortConfig,
  snapshot: Snapshot,
  { serviceId, onNodes }: { serviceId?: string; onNodes: NodePorts },
  problems: Problems,
): void {
  const isPublished = (snapshot.service(serviceId ?? '')?.endpoint.ports ?? []).some(
    (p) =>
      p.publishMode === PublishMode.INGRESS &&
      p.protocol === port.protocol &&
      p.publishedPort === port.publishedPort &&
      p.hostIp === port.hostIp,
  );
  const used = isPublished ? undefined : onNodes.find(port);
  if (used === undefined) return;
  problems.add(`port ${portText(port)} is taken on ${holderOfPort(used)}`, 'failed-precondition');
}

function checkPort(port: PortConfig, problems: Problems): void {
  const isPort = (n: number): boolean => n >= 1 && n <= 65_535;
  const { targetPort, publishedPort, publishMode, hostIp } = port;
  problems
    .at('targetPort')
    .require(isPort(targetPort), `${targetPort} is not a port between 1 and 65535`);
  const published = problems.at('publishedPort');
  if (publishedPort !== 0) {
    published.require(isPort(publishedPort), `${publishedPort} is not a port between 1 and 65535`);
  } else if (publishMode === PublishMode.HOST) {
    published.add(
      'mode host needs a published port: one chosen by the node is not offered yet',
      'unimplemented',
    );
  }
  problems
    .at('hostIp')
    .require(hostIp === '' || isAddress(hostIp), `"${hostIp}" is not an IPv4 address`);
}
