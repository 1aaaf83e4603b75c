import type { Node, Service } from '../../../common/model/objects.js';
import {
  NodeAvailability,
  NodeState,
  TaintEffect,
  type Placement,
  type Taint,
} from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { matchesConstraint, matchesPlatform, parseConstraint } from '../scheduler/constraint.js';
import type { Snapshot } from '../snapshot.js';
import { isGlobal } from '../../../common/model/service-modes.js';
import { isWantedTask } from './slots.js';

/**
 * How a node stands to a service that has a task on each node.
 * - open: it is to have one.
 * - closed: what it has stays as it is, and nothing new comes: it is down, silent or paused.
 * - unfit: it is to have none, for this reason.
 */
export type Standing =
  { readonly is: 'open' | 'closed' } | { readonly is: 'unfit'; readonly reason: string };

export function standingOf(node: Node, placement: Placement): Standing {
  const reason = whyUnfit(node, placement);
  if (reason !== undefined) return { is: 'unfit', reason: `${nodeLabel(node)} ${reason}` };
  const takesTasks =
    node.status.state === NodeState.READY &&
    node.spec.availability === NodeAvailability.ACTIVE &&
    untolerated(node, placement, TaintEffect.NO_SCHEDULE) === undefined;
  return { is: takesTasks ? 'open' : 'closed' };
}

function whyUnfit(node: Node, placement: Placement): string | undefined {
  if (node.spec.availability === NodeAvailability.DRAIN) return 'is drained';
  const broken = placement.constraints.find((c) => !matchesConstraint(parseConstraint(c), node));
  if (broken !== undefined) return `does not satisfy ${broken}`;
  if (!matchesPlatform(node, placement.platforms)) return 'is of another platform';
  const taint = untolerated(node, placement, TaintEffect.NO_EXECUTE);
  if (taint !== undefined) return `has the taint ${taintText(taint)}`;
  return undefined;
}

function taintText({ key, value }: Taint): string {
  return value === '' ? key : `${key}=${value}`;
}

/** A taint of this effect that the placement says nothing about. */
function untolerated(
  { spec }: Node,
  { tolerations }: Placement,
  effect: TaintEffect,
): Taint | undefined {
  return spec.taints.find(
    (taint) =>
      taint.effect === effect &&
      !tolerations.some(
        (t) =>
          (t.key === '' || t.key === taint.key) &&
          (t.value === '' || t.value === taint.value) &&
          (t.effect === undefined || t.effect === effect),
      ),
  );
}

/**
 * The nodes that are to have a task of a global service by now: those that are open, and those
 * that are closed but can be reached, for what they have.
 */
export function nodesOf(snapshot: Snapshot, service: Service): Node[] {
  if (!isGlobal(service)) return [];
  const { placement } = service.spec.taskTemplate;
  const has = new Set(
    snapshot
      .tasksOfService(service.id)
      .filter(isWantedTask)
      .map((t) => t.nodeId),
  );
  return [...snapshot.nodes()].filter((node) => {
    const standing = standingOf(node, placement);
    if (standing.is !== 'closed') return standing.is === 'open';
    return has.has(node.id) && node.status.state !== NodeState.DOWN;
  });
}
