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
import type { Snapshot } from '../snapshot.js';
import type { AllocationState } from './allocation-state.js';
import { NodePorts } from './node-ports.js';
import { exhausted } from './plan-attachments.js';
import { givesAddresses } from './plan-networks.js';
import { portText } from './ports.js';

/**
 * Gives services their virtual addresses and published ports, and new tasks their addresses. What
 * is given shows in the state at once; whoever does not write it puts the object into the state as
 * it is stored.
 */
export class Allocator {
  readonly #snapshot: Snapshot;
  readonly #state: AllocationState;
  readonly #nowMs: number;
  /** Network id → why it has no subnet. */
  readonly #problems: ReadonlyMap<string, string>;
  #nodePorts: NodePorts | undefined;
  readonly #ingress: Network | undefined;
  /** Service id → why it lacks something; '' when it has all. */
  readonly #services = new Map<string, string>();
  /** Taken for an object that is not in the state yet. */
  readonly #taken: { networkId: string; address: string }[] = [];
  /** Network id → what is said when it has no address left; counting them takes long. */
  readonly #exhausted = new Map<string, string>();

  constructor(
    snapshot: Snapshot,
    state: AllocationState,
    nowMs: number,
    problems: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#snapshot = snapshot;
    this.#state = state;
    this.#nowMs = nowMs;
    this.#problems = problems;
    for (const network of snapshot.networks()) {
      if (network.spec.ingress && !network.pendingDelete) this.#ingress ??= network;
    }
  }

  /** @returns the service with what it is given, or undefined when it has all that can be had */
  service(service: Service): Service | undefined {
    if (service.pendingDelete || this.#state.isUnderWay(service)) return undefined;
    const lacks: string[] = [];
    const endpoint: Endpoint = {
      spec: service.spec.endpointSpec,
      ports: this.#portsOf(service, lacks),
      virtualIps: this.#virtualIpsOf(service, lacks),
    };
    this.#services.set(service.id, lacks.join('; '));
    const isSame = equalData(endpoint, service.endpoint);
    if (isSame) this.#state.putService(service);
    else this.#state.decideService(service, endpoint);
    this.#letGo();
    return isSame ? undefined : { ...service, endpoint };
  }

  /**
   * A new task as it is to be: with addresses, and pending; or still new, with what it lacks.
   * Undefined where that is what it is, or its service has to be given its own before.
   */
  task(task: Task): Task | undefined {
    if (task.status.state !== TaskState.NEW || !isWanted(task.desiredState)) return undefined;
    const service = this.#snapshot.service(task.serviceId);
    const serviceLacks = this.#services.get(task.serviceId);
    if (service === undefined || serviceLacks === undefined) return undefined;
    const lacks = serviceLacks === '' ? [] : [serviceLacks];
    const networksAttachments = lacks.length > 0 ? [] : this.#attach(service, task, lacks);
    if (lacks.length > 0) {
      this.#letGo();
      return this.#saying(task, lacks.join('; '));
    }
    const message = 'waits for a node';
    const status = { ...task.status, state: TaskState.PENDING, timestampMs: this.#nowMs, message };
    const given = { ...task, networksAttachments, status };
    this.#state.putTask(given);
    this.#letGo();
    return given;
  }

  #saying(task: Task, message: string): Task | undefined {
    if (task.status.message === message) return undefined;
    return { ...task, status: { ...task.status, message, timestampMs: this.#nowMs } };
  }

  #portsOf(service: Service, lacks: string[]): Endpoint['ports'] {
    const { ports: table } = this.#state;
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
      const holder = table.conflict(service.id, port);
      if (holder !== undefined) {
        lacks.push(`port ${portText(port)} is already published by service ${holder.serviceName}`);
        return [];
      }
      table.claim(service, port);
      return [port];
    });
  }

  #nextDynamic(protocol: PortProtocol): number | undefined {
    this.#nodePorts ??= new NodePorts(this.#snapshot);
    const nodePorts = this.#nodePorts;
    return this.#state.ports.nextDynamic(protocol, (p, port) => nodePorts.isUsed(p, port));
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
    const address = this.#state.addresses.of(networkId)?.take();
    if (address === undefined) lacks.push(this.#whyNone(networkId));
    else this.#taken.push({ networkId, address });
    return address;
  }

  /** What was taken is held by its object now, or by nobody. */
  #letGo(): void {
    for (const { networkId, address } of this.#taken.splice(0)) {
      this.#state.addresses.of(networkId)?.release(address);
    }
  }

  #whyNone(networkId: string): string {
    const network = this.#snapshot.network(networkId);
    if (network === undefined) return `network ${networkId} does not exist any more`;
    const space = this.#state.addresses.of(networkId);
    if (space === undefined) {
      return this.#problems.get(networkId) ?? `network ${network.spec.name} has no subnet yet`;
    }
    const said = this.#exhausted.get(networkId) ?? exhausted(network, space.describe());
    this.#exhausted.set(networkId, said);
    return said;
  }
}
