import type { Clock } from '../../common/clock.js';
import type { Task } from '../../common/model/objects.js';
import {
  AssignmentsType,
  type AssignmentChange,
  type AssignmentsMessage,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../core/snapshot.js';
import type { View } from '../view/view.js';
import { Pulse } from './pulse.js';

/** A change goes out at once, those that follow it within this time together. */
const GATHER_MS = 10;

/** How a node's assignments follow from the cluster's state. */
export interface AssignmentModel<State> {
  /** Everything that the node must know. */
  stateOf(snapshot: Snapshot, nodeId: string, desiredFor: (task: Task) => TaskState): State;
  /** What leads from one state to another; `before` undefined is nothing at all. */
  diff(before: State | undefined, after: State): AssignmentChange[];
}

export interface AssignmentFeedModules<State> {
  readonly view: View;
  readonly clock: Clock;
  readonly model: AssignmentModel<State>;
  /** The desired state that a task's node is to see by now. */
  readonly desiredFor: (task: Task) => TaskState;
}

/** Told of each look at a node's assignments, before anything of it is sent. */
export type OnLooked = (revision: number, isNetworkChanged: boolean) => void;

/** Wakes the assignment streams when the view has changed. */
export class AssignmentFeed<State> implements AsyncDisposable {
  readonly #modules: AssignmentFeedModules<State>;
  readonly #pulses = new Map<string, Set<Pulse>>();
  readonly #unsubscribe: () => void;
  /** While changes are gathered. */
  #gathering: { cancel: () => void; isChanged: boolean } | undefined;

  constructor(modules: AssignmentFeedModules<State>) {
    this.#modules = modules;
    this.#unsubscribe = modules.view.onChange(() => this.#onChange());
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#gathering?.cancel();
    return Promise.resolve();
  }

  /** Something that these nodes are to see has changed beside the view. */
  wake(nodeIds: Iterable<string>): void {
    for (const nodeId of nodeIds) {
      for (const pulse of this.#pulses.get(nodeId) ?? []) pulse.fire();
    }
  }

  /**
   * One COMPLETE message, then INCREMENTAL ones whenever the node's assignments differ from what
   * was sent last. Computed when the receiver is ready for it: one that is slow gets fewer, larger
   * messages.
   */
  async *messages(
    nodeId: string,
    signal: AbortSignal,
    onLooked: OnLooked,
  ): AsyncGenerator<AssignmentsMessage, void, undefined> {
    const { view, model, desiredFor } = this.#modules;
    const pulse = this.#open(nodeId);
    try {
      let sent: State | undefined;
      for (let sequence = 0; ; await pulse.wait(signal)) {
        const state = model.stateOf(view, nodeId, desiredFor);
        const changes = model.diff(sent, state);
        const isFirst = sent === undefined;
        sent = state;
        onLooked(view.revision, isFirst || changes.some((c) => c.item?.$case !== 'task'));
        if (changes.length === 0 && !isFirst) continue;
        yield {
          type: isFirst ? AssignmentsType.COMPLETE : AssignmentsType.INCREMENTAL,
          appliesTo: isFirst ? '' : String(sequence),
          resultsIn: String(++sequence),
          revision: view.revision,
          changes,
        };
      }
    } finally {
      this.#close(nodeId, pulse);
    }
  }

  #open(nodeId: string): Pulse {
    const pulse = new Pulse();
    this.#pulses.set(nodeId, (this.#pulses.get(nodeId) ?? new Set()).add(pulse));
    return pulse;
  }

  #close(nodeId: string, pulse: Pulse): void {
    const pulses = this.#pulses.get(nodeId);
    pulses?.delete(pulse);
    if (pulses?.size === 0) this.#pulses.delete(nodeId);
  }

  #onChange(): void {
    if (this.#gathering !== undefined) {
      this.#gathering.isChanged = true;
      return;
    }
    this.wake(this.#pulses.keys());
    const cancel = this.#modules.clock.setTimer(GATHER_MS, () => {
      const isChanged = this.#gathering?.isChanged === true;
      this.#gathering = undefined;
      if (isChanged) this.#onChange();
    });
    this.#gathering = { cancel, isChanged: false };
  }
}
