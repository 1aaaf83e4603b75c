import type { Clock } from '../../common/clock.js';
import type { Task } from '../../common/model/objects.js';
import type { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import {
  DEFAULT_NETWORK_WAIT_MS,
  NetworkBarriers,
  type Patience,
} from '../core/assignments/network-barriers.js';
import type { View, ViewChange } from '../view/view.js';
import { nodeLabel } from './agents.js';

export interface NetworkOrdersModules {
  readonly view: View;
  readonly clock: Clock;
  /** These nodes are to be told anew what is wanted of their tasks. */
  readonly onReleased: (nodeIds: ReadonlySet<string>) => void;
}

/**
 * Says what each node is to be told of its tasks by now: orders to start and to stop wait for the
 * networks of all nodes. Follows the view, what nodes report, and the clock; only in memory, as a
 * manager that starts anew finds out the same from the stored objects.
 */
export class NetworkOrders implements AsyncDisposable {
  readonly #modules: NetworkOrdersModules;
  readonly #barriers = new NetworkBarriers();
  readonly #unsubscribe: () => void;
  #timer: { readonly atMs: number; readonly cancel: () => void } | undefined;

  constructor(modules: NetworkOrdersModules) {
    const { view } = modules;
    this.#modules = modules;
    for (const node of view.nodes()) this.#barriers.onNode(node, false);
    const patience = this.#patience();
    for (const task of view.tasks()) this.#barriers.onTask(task, undefined, patience);
    this.#unsubscribe = view.onChange((changes) => this.#onChanges(changes));
    this.#setTimer(this.#barriers.firstDeadlineMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#timer?.cancel();
    return Promise.resolve();
  }

  /** The desired state that the task's node is to see by now. */
  desiredFor(task: Task): TaskState {
    return this.#barriers.desiredFor(task);
  }

  /** The kernel of a node that is connected here shows that store revision; 0 = not known. */
  onShown(nodeId: string, revision: number): void {
    this.#barriers.onShown(nodeId, revision);
    this.#release();
  }

  /** What an order for the task waits for, for people; empty when it waits for nothing. */
  waitOf(taskId: string): string {
    const awaited = this.#barriers.awaited(taskId);
    if (awaited === undefined) return '';
    const labels = awaited.nodeIds.map((id) => {
      const node = this.#modules.view.node(id);
      return node === undefined ? id : nodeLabel(node);
    });
    const isOne = labels.length === 1;
    const who = `${isOne ? 'node' : 'nodes'} ${labels.join(', ')}`;
    return awaited.kind === 'stop'
      ? `stops once ${who} ${isOne ? 'sends' : 'send'} it nothing new`
      : `starts once ${who} can reach it`;
  }

  #onChanges(changes: readonly ViewChange[]): void {
    const patience = this.#patience();
    for (const change of changes) this.#onChange(change, patience);
    this.#release();
  }

  #onChange({ type, kind, object, previous }: ViewChange, patience: Patience): void {
    const isGone = type === 'delete';
    if (kind === 'task' && isGone) this.#barriers.onTaskGone(object.id);
    else if (kind === 'task') this.#barriers.onTask(object, previous, patience);
    else if (kind === 'node' && isGone) this.#barriers.onNodeGone(object.id);
    else if (kind === 'node') this.#barriers.onNode(object, previous === undefined);
  }

  #release(): void {
    const nodeIds = this.#barriers.release(this.#modules.clock.nowMs());
    if (nodeIds.size > 0) this.#modules.onReleased(nodeIds);
    this.#setTimer(this.#barriers.firstDeadlineMs);
  }

  #setTimer(atMs: number): void {
    if (this.#timer?.atMs === atMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (atMs === Infinity) return;
    const { clock } = this.#modules;
    const cancel = clock.setTimer(atMs - clock.nowMs(), () => {
      this.#timer = undefined;
      this.#release();
    });
    this.#timer = { atMs, cancel };
  }

  #patience(): Patience {
    const { view, clock } = this.#modules;
    const waitMs = view.cluster()?.spec.networkWaitMs ?? 0;
    return { nowMs: clock.nowMs(), waitMs: waitMs > 0 ? waitMs : DEFAULT_NETWORK_WAIT_MS };
  }
}
