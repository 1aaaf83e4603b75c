import type { Node, Task } from '../../../common/model/objects.js';
import { PublishMode, type PortConfig, type UsedPort } from '../../../proto/gen/hatoba/v1/types.js';
import { addressesMeet } from '../allocator/node-ports.js';
import { GenericResources } from './generic.js';
import { valueOf } from './node-key.js';
import { classOf, type Standing } from './standing.js';

/** A task that failed longer ago than this says nothing about its node any more. */
export const FAILURE_MEMORY_MS = 300_000;
/** From this many recent failures of a service on, a node is the last choice for it. */
export const FAILURES_TO_AVOID = 5;
/** What a task without a reservation counts for in the load of its node, and only there. */
const NOMINAL = { nanoCpus: 1e8, memoryBytes: 200 * 1024 ** 2 };

/** Resources that every node has. */
export interface Amounts {
  nanoCpus: number;
  memoryBytes: number;
  pids: number;
}

/** One node as the scheduler sees it: what is free, and who is there. */
export class NodeView {
  readonly node: Node;
  readonly free: Amounts;
  readonly generic: GenericResources;
  /** Wanted tasks, of all services. */
  tasks = 0;
  /** Share of the node that is taken, of CPUs or of memory, whichever is scarcer; may be over 1. */
  load = 0;
  /** Whether anything may speak against it, for some class; most nodes are above suspicion. */
  isSuspect: boolean;
  /** Those that hold something here, and those that failed here, by id. */
  readonly members = new Map<string, Task>();
  readonly #images: ReadonlySet<string>;
  readonly #values = new Map<string, string>();
  readonly #byService = new Map<string, number>();
  readonly #hostPorts = new Map<string, string[]>();
  readonly #counted = { nanoCpus: 0, memoryBytes: 0 };
  /** class → task id → when it failed. */
  #failures: Map<string, Map<string, number>> | undefined;

  constructor(node: Node) {
    this.node = node;
    const { nanoCpus, memoryBytes, pids, generic } = node.description.resources;
    this.free = { nanoCpus, memoryBytes, pids };
    this.generic = new GenericResources(generic);
    this.#images = new Set(node.description.images);
    this.isSuspect = node.spec.taints.length > 0 || node.status.lostAtMs.length > 0;
    this.#weigh();
  }

  get name(): string {
    return this.node.description.hostname === '' ? this.node.id : this.node.description.hostname;
  }

  /** The node's value of a key such as node.labels.zone; empty where it has none. */
  value(key: string): string {
    let value = this.#values.get(key);
    if (value === undefined) {
      value = valueOf(this.node, key);
      this.#values.set(key, value);
    }
    return value;
  }

  hasImage(image: string): boolean {
    return this.#images.has(image);
  }

  tasksOfService(serviceId: string): number {
    return this.#byService.get(serviceId) ?? 0;
  }

  /** Whether tasks of this class keep failing here. */
  isFailing(taskClass: string, nowMs: number): boolean {
    const failures = this.#failures?.get(taskClass);
    if (failures === undefined) return false;
    let recent = 0;
    for (const atMs of failures.values()) if (atMs >= nowMs - FAILURE_MEMORY_MS) recent++;
    return recent >= FAILURES_TO_AVOID;
  }

  hasHostPort(port: PortConfig): boolean {
    const used = this.#hostPorts.get(portKey(port)) ?? [];
    return used.some((ip) => addressesMeet(ip, port.hostIp)) || this.usedPort(port) !== undefined;
  }

  /** What has a port of this node beside tasks. */
  usedPort(port: PortConfig): UsedPort | undefined {
    return this.node.description.usedPorts.find(
      (use) =>
        use.port === port.publishedPort &&
        use.protocol === port.protocol &&
        addressesMeet(use.hostIp, port.hostIp),
    );
  }

  /** Counts a task of this node; `remove` of the same task takes back exactly that. */
  add(task: Task, standing: Standing): void {
    this.members.set(task.id, task);
    if (standing === 'failed') this.#noteFailure(task);
    else this.#count(task, 1, standing === 'wanted');
  }

  remove(task: Task, standing: Standing): void {
    this.members.delete(task.id);
    if (standing === 'failed') this.#failures?.get(classOf(task))?.delete(task.id);
    else this.#count(task, -1, standing === 'wanted');
  }

  #count(task: Task, sign: 1 | -1, isWanted: boolean): void {
    const { reservations } = task.spec.resources;
    const { nanoCpus, memoryBytes, pids, generic } = reservations;
    this.free.nanoCpus -= sign * nanoCpus;
    this.free.memoryBytes -= sign * memoryBytes;
    this.free.pids -= sign * pids;
    if (generic.length > 0) this.generic.count(task, sign);
    this.#counted.nanoCpus += sign * (nanoCpus || NOMINAL.nanoCpus);
    this.#counted.memoryBytes += sign * (memoryBytes || NOMINAL.memoryBytes);
    this.#weigh();
    for (const port of task.hostPorts) this.#countPort(port, sign);
    if (!isWanted) return;
    this.tasks += sign;
    const ofService = this.tasksOfService(task.serviceId) + sign;
    if (ofService === 0) this.#byService.delete(task.serviceId);
    else this.#byService.set(task.serviceId, ofService);
  }

  #weigh(): void {
    const { nanoCpus, memoryBytes } = this.node.description.resources;
    this.load = Math.max(
      this.#counted.nanoCpus / Math.max(1, nanoCpus),
      this.#counted.memoryBytes / Math.max(1, memoryBytes),
    );
  }

  #countPort(port: PortConfig, sign: 1 | -1): void {
    if (port.publishMode !== PublishMode.HOST) return;
    const key = portKey(port);
    const used = this.#hostPorts.get(key) ?? [];
    if (sign === 1) used.push(port.hostIp);
    else used.splice(used.indexOf(port.hostIp), 1);
    this.#hostPorts.set(key, used);
  }

  #noteFailure(task: Task): void {
    this.isSuspect = true;
    this.#failures ??= new Map();
    const key = classOf(task);
    const ofClass = this.#failures.get(key) ?? new Map<string, number>();
    this.#failures.set(key, ofClass.set(task.id, task.status.timestampMs));
  }
}

function portKey(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol}`;
}
