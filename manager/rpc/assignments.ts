import type { Clock } from '../../common/clock.js';
import {
  AssignmentsType,
  type AssignmentChange,
  type AssignmentsMessage,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { Snapshot } from '../core/snapshot.js';
import type { View } from '../view/view.js';
import { Pulse } from './pulse.js';

/** Changes of the view within this time reach the agents together. */
const DEBOUNCE_MS = 10;

/** How a node's assignments follow from the cluster's state. */
export interface AssignmentModel<State> {
  /** Everything that the node must know. */
  stateOf(snapshot: Snapshot, nodeId: string): State;
  /** What leads from one state to another; `before` undefined is nothing at all. */
  diff(before: State | undefined, after: State): AssignmentChange[];
}

/** Wakes the assignment streams, all at once, a moment after the view changed. */
export class AssignmentFeed<State> implements AsyncDisposable {
  readonly #view: View;
  readonly #clock: Clock;
  readonly #model: AssignmentModel<State>;
  readonly #pulses = new Set<Pulse>();
  readonly #unsubscribe: () => void;
  #cancelTimer: (() => void) | undefined;

  constructor(modules: { view: View; clock: Clock; model: AssignmentModel<State> }) {
    this.#view = modules.view;
    this.#clock = modules.clock;
    this.#model = modules.model;
    this.#unsubscribe = this.#view.onChange(() => this.#wakeSoon());
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe();
    this.#cancelTimer?.();
    return Promise.resolve();
  }

  /**
   * One COMPLETE message, then INCREMENTAL ones whenever the node's assignments differ from what
   * was sent last. Computed when the receiver is ready for it: one that is slow gets fewer, larger
   * messages.
   */
  async *messages(
    nodeId: string,
    signal: AbortSignal,
  ): AsyncGenerator<AssignmentsMessage, void, undefined> {
    const pulse = new Pulse();
    this.#pulses.add(pulse);
    try {
      let sent: State | undefined;
      for (let sequence = 0; ; await pulse.wait(signal)) {
        const state = this.#model.stateOf(this.#view, nodeId);
        const changes = this.#model.diff(sent, state);
        const isFirst = sent === undefined;
        sent = state;
        if (changes.length === 0 && !isFirst) continue;
        yield {
          type: isFirst ? AssignmentsType.COMPLETE : AssignmentsType.INCREMENTAL,
          appliesTo: isFirst ? '' : String(sequence),
          resultsIn: String(++sequence),
          revision: this.#view.revision,
          changes,
        };
      }
    } finally {
      this.#pulses.delete(pulse);
    }
  }

  #wakeSoon(): void {
    this.#cancelTimer ??= this.#clock.setTimer(DEBOUNCE_MS, () => {
      this.#cancelTimer = undefined;
      for (const pulse of this.#pulses) pulse.fire();
    });
  }
}
