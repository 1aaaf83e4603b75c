import type { Network, Service } from '../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import { parseCidr, poolUsage } from '../../../overlay-net/core/ipam.js';
import { EndpointMode, UpdateOrder } from '../../../proto/gen/hatoba/v1/types.js';
import { Addresses } from '../allocator/addresses.js';
import { givesAddresses } from '../allocator/plan-networks.js';
import { equalData } from '../equal.js';
import { publishesIngress } from '../orchestrator/spec-comparison.js';
import { desiredTasksOf } from '../service/service-status.js';
import type { Snapshot } from '../snapshot.js';
import type { Problem } from '../validate/problem.js';

/**
 * Whether networks have the addresses that services will need: said when the service is made or
 * changed, rather than by tasks that wait. What a service was found to have room for counts for the
 * next one that is asked about.
 */
export class NetworkRoom {
  readonly #snapshot: Snapshot;
  readonly #networks: Map<string, Network>;
  /** Services as they will be, instead of those in the snapshot. */
  readonly #services: Map<string, Service>;
  /** No network can have more in use, or promised. */
  #most: number;

  /** @param newNetworks that come into being together with the services */
  constructor(snapshot: Snapshot, newNetworks: readonly Network[] = []) {
    this.#snapshot = snapshot;
    this.#networks = byId([...snapshot.networks(), ...newNetworks]);
    this.#services = byId(snapshot.services());
    this.#most = mostAddresses(snapshot, this.#services.values());
  }

  /** @param after as it is to be stored, networks by their ids */
  check(after: Service): Problem[] {
    const before = this.#snapshot.service(after.id);
    this.#services.set(after.id, after);
    this.#most += desiredTasksOf(this.#snapshot, after) + 1;
    return this.#networksOf(after).flatMap((network) => {
      if (!this.#asksForMore(before, after, network)) return [];
      const message = this.#shortage(after, network);
      const path = 'taskTemplate.networks';
      return message === undefined ? [] : { path, message, kind: 'resource-exhausted' };
    });
  }

  #networksOf(service: Service): Network[] {
    return [...this.#networks.values()].filter(
      (n) => n.ipam.length > 0 && givesAddresses(n) && isOn(service, n),
    );
  }

  /** What is missing, for people. */
  #shortage(service: Service, network: Network): string | undefined {
    const need = this.#demandOf(service, network).total;
    if (capacityOf(network) - this.#most >= need) return undefined; // the common case, at once
    const addresses = new Addresses(this.#snapshot, new Map(), new Set([network.id]));
    if (addresses.of(network.id) === undefined) addresses.open(network);
    const space = addresses.of(network.id);
    if (space === undefined) return undefined;
    const { free } = space.usage();
    const missing = this.#missing(service, network);
    const promised = this.#promised(service, network);
    if (missing <= free - promised) return undefined;
    const others = promised === 0 ? '' : ` (${promised} of them for tasks of other services)`;
    return (
      `network ${network.spec.name} (${space.from()}): ${space.counts()}${others}; ` +
      `service ${service.spec.name} needs ${this.#needText(service, network, missing)}; use a ` +
      'network with a larger subnet or with several'
    );
  }

  #needText(service: Service, network: Network, missing: number): string {
    const { tasks, surplus, virtual } = this.#demandOf(service, network);
    const parts = [`${tasks} ${tasks === 1 ? 'task' : 'tasks'}`];
    if (surplus > 0) parts.push('one more while it is updated');
    if (virtual > 0) parts.push('a virtual address');
    const list = [parts.slice(0, -1).join(', '), parts.at(-1)]
      .filter((p) => p !== '')
      .join(' and ');
    const held = this.#heldBy(service, network);
    return held === 0 ? `${missing}: ${list}` : `${missing} more: ${list}, less the ${held} it has`;
  }

  /** Addresses that other services on the network still have to get. */
  #promised(service: Service, network: Network): number {
    let sum = 0;
    for (const other of this.#services.values()) {
      if (other.id === service.id || other.pendingDelete || !isOn(other, network)) continue;
      const { tasks, virtual } = this.#demandOf(other, network);
      sum += Math.max(0, tasks + virtual - this.#heldBy(other, network));
    }
    return sum;
  }

  #missing(service: Service, network: Network): number {
    return Math.max(0, this.#demandOf(service, network).total - this.#heldBy(service, network));
  }

  #heldBy({ id, endpoint }: Service, network: Network): number {
    const virtual = endpoint.virtualIps.some((v) => v.networkId === network.id) ? 1 : 0;
    const tasks = this.#snapshot
      .tasksOfService(id)
      .filter((t) => isWanted(t.desiredState) && !isTerminal(t.status.state))
      .filter((t) => t.networksAttachments.some((a) => a.networkId === network.id));
    return tasks.length + virtual;
  }

  #demandOf(service: Service, network: Network): Demand {
    if (!isOn(service, network)) return { tasks: 0, surplus: 0, virtual: 0, total: 0 };
    const { updateConfig, endpointSpec } = service.spec;
    const tasks = desiredTasksOf(this.#snapshot, service);
    const surplus = tasks > 0 && updateConfig.order === UpdateOrder.START_FIRST ? 1 : 0;
    const virtual = endpointSpec.mode === EndpointMode.VIP ? 1 : 0;
    return { tasks, surplus, virtual, total: tasks + surplus + virtual };
  }

  /** Asking for less is always possible, and so is what changes nothing for the network. */
  #asksForMore(before: Service | undefined, after: Service, network: Network): boolean {
    if (before === undefined || before.pendingDelete) return true;
    const demand = this.#demandOf(after, network);
    const former = this.#demandOf(before, network);
    if (demand.total > former.total) return true;
    const isUpdate = !equalData(before.spec.taskTemplate, after.spec.taskTemplate);
    return isUpdate && demand.surplus > 0 && demand.tasks >= former.tasks;
  }
}

interface Demand {
  tasks: number;
  /** An update that starts the new task first needs one address more. */
  surplus: number;
  virtual: number;
  total: number;
}

function isOn(service: Service, { id, spec }: Network): boolean {
  if (spec.ingress) return publishesIngress(service);
  return service.spec.taskTemplate.networks.some(({ target }) => target === id);
}

function capacityOf({ ipam }: Network): number {
  return ipam.reduce((sum, { subnet, ipRange }) => {
    const cidr = parseCidr(subnet);
    return sum + poolUsage(cidr, [], ipRange === '' ? cidr : parseCidr(ipRange)).total;
  }, 0);
}

function mostAddresses(snapshot: Snapshot, services: Iterable<Service>): number {
  let most = 1; // the gateway
  for (const service of services) most += desiredTasksOf(snapshot, service) + 1;
  for (const _ of snapshot.tasks()) most++;
  for (const _ of snapshot.attachments()) most++;
  return most;
}

function byId<T extends { readonly id: string }>(objects: Iterable<T>): Map<string, T> {
  return new Map([...objects].map((o) => [o.id, o]));
}
