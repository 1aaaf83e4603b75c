import type { Node, Service } from '../../../common/model/objects.js';
import { isGlobal } from '../../../common/model/service-modes.js';
import { NodeAvailability, NodeState, type Placement } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import { repellingTaints, taintText } from '../scheduler/taints.js';
import type { Snapshot } from '../snapshot.js';
import { misfitOf } from './leave-reasons.js';
import { noExecuteTaint } from './no-execute.js';
import { isWantedTask } from './slots.js';

/**
 * How a node stands to a service that has a task on each node.
 * - open: it is to have one.
 * - closed: what it has stays as it is, and nothing new comes: it is down, silent or paused.
 * - unfit: it is to have none, for this reason.
 */
export type Standing =
  { readonly is: 'open' | 'closed' } | { readonly is: 'unfit'; readonly reason: string };

/** @param isPast whether that time has come: a taint may be tolerated for some time */
export function standingOf(
  node: Node,
  placement: Placement,
  isPast: (atMs: number) => boolean,
): Standing {
  const why = whyUnfit(node, placement, isPast);
  if (why !== undefined) return { is: 'unfit', reason: `${nodeLabel(node)} ${why}` };
  const takesTasks =
    node.status.state === NodeState.READY &&
    node.spec.availability === NodeAvailability.ACTIVE &&
    repellingTaints(node, placement.tolerations).length === 0;
  return { is: takesTasks ? 'open' : 'closed' };
}

function whyUnfit(
  node: Node,
  placement: Placement,
  isPast: (atMs: number) => boolean,
): string | undefined {
  if (node.spec.availability === NodeAvailability.DRAIN) return 'is drained';
  const misfit = misfitOf(node, placement);
  if (misfit !== undefined) return misfit;
  const taint = noExecuteTaint(node, placement.tolerations, isPast);
  return taint === undefined ? undefined : `is tainted ${taintText(taint)}`;
}

/**
 * The nodes that are to have a task of a global service by now, or soon: those that are open, and
 * those that are closed but can be reached, for what they have.
 */
export function nodesOf(snapshot: Snapshot, service: Service): Node[] {
  if (!isGlobal(service)) return [];
  const wanted = snapshot.tasksOfService(service.id).filter(isWantedTask);
  const has = new Set(wanted.map((t) => t.nodeId));
  return [...snapshot.nodes()].filter((node) => {
    // A taint that is tolerated for some time counts as if that was over.
    const { is } = standingOf(node, service.spec.taskTemplate.placement, isEver);
    if (is !== 'closed') return is === 'open';
    return has.has(node.id) && node.status.state !== NodeState.DOWN;
  });
}

function isEver(atMs: number): boolean {
  return atMs < Infinity;
}
