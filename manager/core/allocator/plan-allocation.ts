import type { Network, Service, Task } from '../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import {
  EndpointMode,
  TaskState,
  type Endpoint,
  type PortProtocol,
} from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { publishesIngress } from '../orchestrator/spec-comparison.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { Addresses, type AddressCursors } from './addresses.js';
import { exhausted, planAttachments } from './plan-attachments.js';
import { givesAddresses, planNetworks } from './plan-networks.js';
import { NodePorts } from './node-ports.js';
import { PortTable, portText } from './ports.js';

export type { AddressCursors };

export interface Allocation {
  plan: Plan;
  cursors: AddressCursors;
}

/**
 * Gives networks their subnets and numbers, services their virtual addresses and published ports,
 * containers of single nodes and new tasks their addresses (NEW → PENDING). What is in use is read from the stored objects each
 * time, so nothing can be given twice as long as the snapshot shows all that was given before: the
 * caller plans again only once it sees its last writes. An address is free again when the object
 * that has it is gone. What cannot be given is said in the message of the tasks that wait for it.
 */
export function planAllocation(
  snapshot: Snapshot,
  nowMs: number,
  cursors: AddressCursors = new Map(),
): Allocation {
  const { group, problems } = planNetworks(snapshot);
  const addresses = new Addresses(snapshot, cursors);
  const allocator = new Allocator(snapshot, nowMs, addresses, problems);
  const services = [...snapshot.services()].sort(
    (a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1),
  );
  for (const service of services) allocator.service(service);
  const attachments = planAttachments(snapshot, addresses);
  for (const task of snapshot.tasks()) allocator.task(task);
  return {
    plan: {
      groups: [
        ...(group.length > 0 ? [group] : []),
        ...[...attachments, ...allocator.changes].map((change) => [change]),
      ],
    },
    cursors: addresses.cursors(),
  };
}

class Allocator {
  readonly changes: Change[] = [];
  readonly #snapshot: Snapshot;
  readonly #nowMs: number;
  readonly #addresses: Addresses;
  /** Network id → why it has no subnet. */
  readonly #problems: ReadonlyMap<string, string>;
  readonly #ports = new PortTable();
  #nodePorts: NodePorts | undefined;
  readonly #ingress: Network | undefined;
  /** Service id → why it lacks something; '' when it has all. */
  readonly #services = new Map<string, string>();

  constructor(
    snapshot: Snapshot,
    nowMs: number,
    addresses: Addresses,
    problems: ReadonlyMap<string, string>,
  ) {
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
    this.#addresses = addresses;
    this.#problems = problems;
    this.#ingress = [...snapshot.networks()].find((n) => n.spec.ingress && !n.pendingDelete);
    for (const service of snapshot.services()) {
      for (const port of service.endpoint.ports) this.#ports.claim(service, port);
    }
  }

  service(service: Service): void {
    if (service.pendingDelete) return;
    const lacks: string[] = [];
    const endpoint: Endpoint = {
      spec: service.spec.endpointSpec,
      ports: this.#portsOf(service, lacks),
      virtualIps: this.#virtualIpsOf(service, lacks),
    };
    this.#services.set(service.id, lacks.join('; '));
    if (!equalData(endpoint, service.endpoint)) {
      this.changes.push({ action: 'update', kind: 'service', object: { ...service, endpoint } });
    }
  }

  #portsOf(service: Service, lacks: string[]): Endpoint['ports'] {
    return service.spec.endpointSpec.ports.flatMap((wanted) => {
      const given = service.endpoint.ports.find((p) =>
        equalData({ ...p, publishedPort: wanted.publishedPort }, wanted),
      );
      const publishedPort =
        wanted.publishedPort || given?.publishedPort || this.#nextDynamic(wanted.protocol);
      if (publishedPort === undefined) {
        lacks.push(`no free published port for ${wanted.targetPort} is left`);
        return [];
      }
      const port = { ...wanted, publishedPort };
      const holder = this.#ports.conflict(service.id, port);
      if (holder !== undefined) {
        lacks.push(`port ${portText(port)} is already published by service ${holder.serviceName}`);
        return [];
      }
      this.#ports.claim(service, port);
      return [port];
    });
  }

  #nextDynamic(protocol: PortProtocol): number | undefined {
    this.#nodePorts ??= new NodePorts(this.#snapshot);
    const nodePorts = this.#nodePorts;
    return this.#ports.nextDynamic(protocol, (p, port) => nodePorts.isUsed(p, port));
  }

  #virtualIpsOf(service: Service, lacks: string[]): Endpoint['virtualIps'] {
    const given = service.endpoint.virtualIps;
    const wanted = this.#networksOf(service, service.spec.taskTemplate.networks).filter(
      (id) => !this.#isWithoutAddresses(id),
    );
    const hasVips = service.spec.endpointSpec.mode === EndpointMode.VIP;
    const kept = given.filter(
      (v) => (hasVips && wanted.includes(v.networkId)) || this.#isInUse(service, v.networkId),
    );
    const added = wanted
      .filter((id) => hasVips && !kept.some((v) => v.networkId === id))
      .flatMap((networkId) => {
        const addr = this.#takeAddress(networkId, lacks);
        return addr === undefined ? [] : [{ networkId, addr }];
      });
    return [...kept, ...added];
  }

  /** Whether tasks of an older spec still answer on a network that the service has left. */
  #isInUse(service: Service, networkId: string): boolean {
    return this.#snapshot
      .tasksOfService(service.id)
      .some(
        (t) =>
          !isTerminal(t.status.state) &&
          t.networksAttachments.some((a) => a.networkId === networkId),
      );
  }

  /** Ids of the networks that tasks of the service are on: those asked for, and ingress. */
  #networksOf(service: Service, asked: Task['spec']['networks']): string[] {
    const ids = asked.map((n) => n.target);
    const ingress = publishesIngress(service) ? this.#ingress?.id : undefined;
    return ingress === undefined || ids.includes(ingress) ? ids : [...ids, ingress];
  }

  /** The host's own network, or none. */
  #isWithoutAddresses(networkId: string): boolean {
    const network = this.#snapshot.network(networkId);
    return network !== undefined && !givesAddresses(network);
  }

  #takeAddress(networkId: string, lacks: string[]): string | undefined {
    const address = this.#addresses.of(networkId)?.take();
    if (address === undefined) lacks.push(this.#whyNone(networkId));
    return address;
  }

  #whyNone(networkId: string): string {
    const network = this.#snapshot.network(networkId);
    if (network === undefined) return `network ${networkId} does not exist any more`;
    const space = this.#addresses.of(networkId);
    if (space !== undefined) return exhausted(network, space.describe());
    return this.#problems.get(networkId) ?? `network ${network.spec.name} has no subnet yet`;
  }

  task(task: Task): void {
    if (task.status.state !== TaskState.NEW || !isWanted(task.desiredState)) return;
    const service = this.#snapshot.service(task.serviceId);
    const serviceLacks = this.#services.get(task.serviceId);
    if (service === undefined || serviceLacks === undefined) return; // being removed
    const lacks = serviceLacks === '' ? [] : [serviceLacks];
    const networksAttachments = lacks.length > 0 ? [] : this.#attach(service, task, lacks);
    if (lacks.length > 0) {
      this.#say(task, lacks.join('; '));
      return;
    }
    const message = 'waits for a node';
    const status = { ...task.status, state: TaskState.PENDING, timestampMs: this.#nowMs, message };
    this.changes.push({
      action: 'update',
      kind: 'task',
      object: { ...task, networksAttachments, status },
    });
  }

  #attach(service: Service, task: Task, lacks: string[]): Task['networksAttachments'] {
    return this.#networksOf(service, task.spec.networks).flatMap((networkId) => {
      const networkName = this.#snapshot.network(networkId)?.spec.name ?? '';
      if (this.#isWithoutAddresses(networkId)) {
        return [{ networkId, networkName, addresses: [], aliases: [] }];
      }
      const address = this.#takeAddress(networkId, lacks);
      // Names that lead to all tasks of the service are the service's, see network-items.ts.
      return address === undefined
        ? []
        : [{ networkId, networkName, addresses: [address], aliases: [] }];
    });
  }

  #say(task: Task, message: string): void {
    if (task.status.message === message) return;
    const status = { ...task.status, message, timestampMs: this.#nowMs };
    this.changes.push({ action: 'update', kind: 'task', object: { ...task, status } });
  }
}
