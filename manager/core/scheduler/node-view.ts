import type { Node, Task } from '../../../common/model/objects.js';
import { isTerminal, isWanted } from '../../../common/model/task-state.js';
import {
  PublishMode,
  TaskState,
  type PortConfig,
  type Resources,
  type UsedPort,
} from '../../../proto/gen/hatoba/v1/types.js';
import { addressesMeet } from '../allocator/node-ports.js';
import type { Snapshot } from '../snapshot.js';
import { failureKeyOf } from './request.js';

/** A task that failed longer ago than this says nothing about its node any more. */
export const FAILURE_MEMORY_MS = 300_000;
/** From this many recent failures of a service on, a node is the last choice for it. */
export const FAILURES_TO_AVOID = 5;

/** One node as the scheduler sees it: what is free, and who is there. Counts placements made. */
export class NodeView {
  readonly node: Node;
  readonly free: Resources;
  /** Wanted tasks, of all services. */
  tasks = 0;
  readonly #byService = new Map<string, number>();
  readonly #hostPorts = new Map<string, string[]>();
  /** failureKeyOf → recent failures. */
  #failures: Map<string, number> | undefined;

  constructor(node: Node) {
    this.node = node;
    this.free = { ...node.description.resources };
  }

  get name(): string {
    return this.node.description.hostname === '' ? this.node.id : this.node.description.hostname;
  }

  tasksOfService(serviceId: string): number {
    return this.#byService.get(serviceId) ?? 0;
  }

  /** Whether tasks of this spec keep failing here. */
  isFailing(failureKey: string): boolean {
    if (this.#failures === undefined) return false;
    return (this.#failures.get(failureKey) ?? 0) >= FAILURES_TO_AVOID;
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

  /** Counts a task that the snapshot shows on this node. */
  addExisting(task: Task, nowMs: number): void {
    if (isTerminal(task.status.state)) this.#noteFailure(task, nowMs);
    else this.add(task);
  }

  /** Counts a task that holds, or is about to hold, resources here. */
  add(task: Task): void {
    const { nanoCpus, memoryBytes, pids } = task.spec.resources.reservations;
    this.free.nanoCpus -= nanoCpus;
    this.free.memoryBytes -= memoryBytes;
    this.free.pids -= pids;
    for (const port of task.hostPorts) this.#takePort(port);
    if (!isWanted(task.desiredState)) return;
    this.tasks++;
    this.#byService.set(task.serviceId, this.tasksOfService(task.serviceId) + 1);
  }

  #takePort(port: PortConfig): void {
    if (port.publishMode !== PublishMode.HOST) return;
    const key = portKey(port);
    this.#hostPorts.set(key, [...(this.#hostPorts.get(key) ?? []), port.hostIp]);
  }

  #noteFailure(task: Task, nowMs: number): void {
    const { state, timestampMs } = task.status;
    const failed = state === TaskState.FAILED || state === TaskState.REJECTED;
    if (!failed || timestampMs < nowMs - FAILURE_MEMORY_MS) return;
    this.#failures ??= new Map();
    const key = failureKeyOf(task);
    this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
  }
}

function portKey(port: PortConfig): string {
  return `${port.publishedPort}/${port.protocol}`;
}

/** A view of every node, in order of id. */
export function viewNodes(snapshot: Snapshot, nowMs: number): NodeView[] {
  const nodes = [...snapshot.nodes()].sort((a, b) => (a.id < b.id ? -1 : 1));
  return nodes.map((node) => {
    const view = new NodeView(node);
    for (const task of snapshot.tasksOfNode(node.id)) view.addExisting(task, nowMs);
    return view;
  });
}
