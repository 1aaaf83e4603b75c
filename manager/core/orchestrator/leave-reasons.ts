import type { Node, Task } from '../../../common/model/objects.js';
import { NodeAvailability, NodeState, type Placement } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { brokenConstraints, fitsPlacement } from '../scheduler/constraint.js';
import { taintText } from '../scheduler/taints.js';
import type { Snapshot } from '../snapshot.js';
import { crowdedOut } from './crowded-out.js';
import { noExecuteTaint } from './no-execute.js';

/**
 * Why tasks of a service are not to stay on their nodes, in words for people: "n2 is drained". The
 * answer is the same for all tasks of one spec on one node, so it is worked out once.
 */
export class LeaveReasons {
  readonly #snapshot: Snapshot;
  readonly #isPast: (atMs: number) => boolean;
  /** All tasks that are up to date obey one placement, their service's. */
  readonly #known = new Map<Placement, Map<string, string | undefined>>();

  /** @param isPast whether a time has come; if not, it is asked again then */
  constructor(snapshot: Snapshot, isPast: (atMs: number) => boolean) {
    this.#snapshot = snapshot;
    this.#isPast = isPast;
  }

  /** @param placement what the task is to obey: its own, or its service's */
  of(task: Task, placement: Placement): string | undefined {
    if (task.nodeId === '') return undefined;
    const node = this.#snapshot.node(task.nodeId);
    if (node === undefined) return 'its node was removed';
    const reason = this.#ofNode(node, placement);
    if (reason !== undefined || !crowdedOut(node, this.#snapshot).has(task.id)) return reason;
    return `${nodeLabel(node)} has fewer resources than its tasks reserve`;
  }

  #ofNode(node: Node, placement: Placement): string | undefined {
    const known = this.#known.get(placement) ?? new Map<string, string | undefined>();
    this.#known.set(placement, known);
    if (known.has(node.id)) return known.get(node.id);
    const what = conditionOf(node) ?? misfitOf(node, placement) ?? this.#taintOf(node, placement);
    const reason = what === undefined ? undefined : `${nodeLabel(node)} ${what}`;
    known.set(node.id, reason);
    return reason;
  }

  #taintOf(node: Node, { tolerations }: Placement): string | undefined {
    const taint = noExecuteTaint(node, tolerations, this.#isPast);
    return taint === undefined ? undefined : `has the taint ${taintText(taint)}`;
  }
}

function conditionOf(node: Node): string | undefined {
  if (node.status.state === NodeState.DOWN) return 'is down';
  return node.spec.availability === NodeAvailability.DRAIN ? 'is drained' : undefined;
}

/** How the node does not meet the placement. */
export function misfitOf(node: Node, placement: Placement): string | undefined {
  if (fitsPlacement(node, placement)) return undefined;
  const broken = brokenConstraints(node, placement).map((c) => c.expression);
  return broken.length === 0
    ? 'is not of the right platform'
    : `does not satisfy ${broken.join(' and ')} any more`;
}
