import type { Task } from '../../../common/model/objects.js';
import { placeOf } from '../../../common/model/task-place.js';
import { NodeState } from '../../../proto/gen/hatoba/v1/types.js';
import { NANO_CPUS, type SimHost } from '../world/sim-host.js';
import type { Commit } from '../world/truth.js';
import { Violation, type Facts, type Invariant } from './invariant.js';
import { nameOf } from './ownership.js';
import { mayStartFirst } from './slots.js';

/** What really runs: no slot on two machines, unless the one was given up for lost. */
export class Containers implements Invariant {
  readonly #hosts: readonly SimHost[];
  /** Tasks that ran, or were to, on a node when it was given up. */
  readonly #lost = new Set<string>();
  readonly #started = new Map<string, Task>();
  /** Services that ever had two tasks in one slot by right. */
  readonly #startFirst = new Set<string>();

  constructor(hosts: readonly SimHost[]) {
    this.#hosts = hosts;
  }

  check(commit: Commit, { view }: Facts): void {
    for (const change of commit.changes) {
      if (change.kind === 'service' && mayStartFirst(change.object)) {
        this.#startFirst.add(change.object.id);
      }
      if (change.kind !== 'node') continue;
      const isLost = change.type === 'delete' || change.object.status.state === NodeState.DOWN;
      if (!isLost) continue;
      for (const task of view.tasksOfNode(change.object.id)) this.#lost.add(task.id);
    }
  }

  /** A container has begun to run. */
  onStarted(task: Task, on: SimHost): void {
    this.#started.set(task.id, task);
    this.#checkRoom(on);
    // a machine that comes back starts what it knows of until it hears that it was given up
    if (this.#startFirst.has(task.serviceId) || this.#lost.has(task.id)) return;
    for (const host of this.#hosts) {
      for (const other of this.#runningOn(host)) {
        if (other.id === task.id || !isSamePlace(other, task)) continue;
        const where = `${nameOf(other)} runs on ${host.name}`;
        throw new Violation('two-at-once', `${nameOf(task)} started while ${where}`);
      }
    }
  }

  /** What runs uses no more than the machine has, and no port twice. */
  #checkRoom(host: SimHost): void {
    const running = this.#runningOn(host);
    const cpus = running.reduce((sum, t) => sum + t.spec.resources.reservations.nanoCpus, 0);
    if (cpus > NANO_CPUS) throw new Violation('overfull', `${host.name} runs ${cpus} nano CPUs`);
    const ports = running.flatMap((t) => t.hostPorts.map((p) => p.publishedPort));
    if (new Set(ports).size === ports.length) return;
    const names = running.map(nameOf).join(', ');
    throw new Violation('port-twice', `${host.name} runs ${names} with ports ${ports.join()}`);
  }

  /** Those that nobody has given up. */
  #runningOn(host: SimHost): Task[] {
    const ids = host.running().filter((id) => !this.#lost.has(id));
    return ids.flatMap((id) => this.#started.get(id) ?? []);
  }
}

/** One slot, or for a global service one node. */
function isSamePlace(a: Task, b: Task): boolean {
  return a.serviceId === b.serviceId && placeOf(a) === placeOf(b);
}
