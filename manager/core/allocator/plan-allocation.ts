import type { Network, Service, Task } from '../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import { EndpointMode, TaskState, type Endpoint } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../equal.js';
import { publishesIngress } from '../orchestrator/spec-comparison.js';
import type { Change, Plan, Snapshot } from '../snapshot.js';
import { AddressSpace } from './address-space.js';
import { planNetworks } from './plan-networks.js';
import { PortTable, portText } from './ports.js';

/** Network id → the address given last; a hint that keeps released addresses at rest. */
export type AddressCursors = ReadonlyMap<string, string>;

export interface Allocation {
  plan: Plan;
  cursors: AddressCursors;
}

/**
 * Gives networks their subnets and numbers, services their virtual addresses and published ports,
 * new tasks their addresses (NEW → PENDING). What is in use is read from the stored objects each
 * time, so nothing can be given twice as long as the snapshot shows all that was given before: the
 * caller plans again only once it sees its last writes. An address is free again when the object
 * that has it is gone. What cannot be given is said in the message of the tasks that wait for it.
 */
export function planAllocation(
  snapshot: Snapshot,
  nowMs: number,
  cursors: AddressCursors = new Map(),
): Allocation {
  const { changes, problems } = planNetworks(snapshot);
  const allocator = new Allocator(snapshot, nowMs, cursors, problems);
  const services = [...snapshot.services()].sort(
    (a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1),
  );
  for (const service of services) allocator.service(service);
  for (const task of snapshot.tasks()) allocator.task(task);
  return {
    plan: { groups: [...changes, ...allocator.changes].map((change) => [change]) },
    cursors: allocator.cursors(),
  };
}

class Allocator {
  readonly changes: Change[] = [];
  readonly #snapshot: Snapshot;
  readonly #nowMs: number;
  readonly #cursors: AddressCursors;
  /** Network id → why it has no subnet. */
  readonly #problems: ReadonlyMap<string, string>;
  readonly #spaces = new Map<string, AddressSpace>();
  readonly #ports = new PortTable();
  readonly #ingress: Network | undefined;
  /** Service id → why it lacks something; '' when it has all. */
  readonly #services = new Map<string, string>();

  constructor(
    snapshot: Snapshot,
    nowMs: number,
    cursors: AddressCursors,
    problems: ReadonlyMap<string, string>,
  ) {
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
    this.#cursors = cursors;
    this.#problems = problems;
    this.#ingress = [...snapshot.networks()].find((n) => n.spec.ingress && !n.pendingDelete);
    for (const network of snapshot.networks()) this.#openSpace(network);
    for (const service of snapshot.services()) this.#noteService(service);
    for (const task of snapshot.tasks()) this.#noteTask(task);
  }

  cursors(): AddressCursors {
    const cursors = new Map<string, string>();
    for (const [id, { cursor }] of this.#spaces) if (cursor !== undefined) cursors.set(id, cursor);
    return cursors;
  }

  #openSpace({ id, ipam }: Network): void {
    const [first] = ipam;
    if (first === undefined) return;
    this.#spaces.set(id, new AddressSpace(first, this.#cursors.get(id)));
  }

  #noteService(service: Service): void {
    for (const { networkId, addr } of service.endpoint.virtualIps) {
      this.#spaces.get(networkId)?.occupy(addr);
    }
    for (const port of service.endpoint.ports) this.#ports.claim(service, port);
  }

  #noteTask({ networksAttachments, status }: Task): void {
    // What became of an orphaned task's container is not known, so its address is not given again.
    const ended = isTerminal(status.state) && status.state !== TaskState.ORPHANED;
    for (const { networkId, addresses } of networksAttachments) {
      const space = this.#spaces.get(networkId);
      for (const address of addresses) {
        if (ended) space?.occupyEnded(address, status.timestampMs);
        else space?.occupy(address);
      }
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
        wanted.publishedPort || given?.publishedPort || this.#ports.nextDynamic(wanted.protocol);
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

  #virtualIpsOf(service: Service, lacks: string[]): Endpoint['virtualIps'] {
    const given = service.endpoint.virtualIps;
    const wanted = this.#networksOf(service, service.spec.taskTemplate.networks);
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

  /** Ids of the overlay networks that tasks of the service are on: those asked for, and ingress. */
  #networksOf(service: Service, asked: Task['spec']['networks']): string[] {
    const ids = asked.map((n) => n.target);
    const ingress = publishesIngress(service) ? this.#ingress?.id : undefined;
    return ingress === undefined || ids.includes(ingress) ? ids : [...ids, ingress];
  }

  #takeAddress(networkId: string, lacks: string[]): string | undefined {
    const space = this.#spaces.get(networkId);
    const address = space?.take();
    if (address === undefined) lacks.push(this.#whyNone(networkId, space));
    return address;
  }

  #whyNone(networkId: string, space: AddressSpace | undefined): string {
    const network = this.#snapshot.network(networkId);
    if (network === undefined) return `network ${networkId} does not exist any more`;
    const { name } = network.spec;
    if (space !== undefined) {
      const subnet = network.ipam[0]?.subnet ?? '';
      return `no address is left on network ${name} (${subnet}: ${space.describe()})`;
    }
    return this.#problems.get(networkId) ?? `network ${name} has no subnet yet`;
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
      const address = this.#takeAddress(networkId, lacks);
      const networkName = this.#snapshot.network(networkId)?.spec.name ?? '';
      // Names that lead to all tasks of the service are the service's, see network-state.ts.
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
