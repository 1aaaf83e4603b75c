import type { Task } from '../../../common/model/objects.js';
import { NodeState } from '../../../proto/gen/hatoba/v1/types.js';
import type { SimHost } from '../world/sim-host.js';
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
  onStarted(task: Task): void {
    this.#started.set(task.id, task);
    if (task.slot === 0 || this.#startFirst.has(task.serviceId)) return;
    for (const host of this.#hosts) {
      for (const otherId of host.running()) {
        const other = this.#started.get(otherId);
        if (other === undefined || other.id === task.id || this.#lost.has(otherId)) continue;
        if (other.serviceId !== task.serviceId || other.slot !== task.slot) continue;
        const where = `${nameOf(other)} runs on ${host.name}`;
        throw new Violation('two-at-once', `${nameOf(task)} started while ${where}`);
      }
    }
  }
}
