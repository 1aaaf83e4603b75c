import type { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import type { View } from '../../../manager/view/view.js';
import type { Commit, Leader } from '../world/truth.js';

/** What the checks may look at beside the commit. */
export interface Facts {
  /** What the store holds after the commit. */
  readonly view: View;
  readonly leader: Leader | undefined;
  /** Whether the node has told that its task is in that state. */
  wasReported(nodeId: string, taskId: string, state: TaskState): boolean;
}

/** Looks at every commit; throws a Violation. One object per run, as it may remember. */
export interface Invariant {
  check(commit: Commit, facts: Facts): void;
}

/** What must never be was. `rule` names it in one word, by which a shrunk script is the same failure. */
export class Violation extends Error {
  readonly rule: string;

  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.name = 'Violation';
    this.rule = rule;
  }
}
