import type { Candidates } from './candidates.js';
import { nodeChecks } from './filters/all-filters.js';
import { staticChecks } from './filters/static-filters.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';
import type { SchedulerState } from './state.js';

/**
 * Why no node takes the task: nodes counted by the first filter they fail, most frequent first,
 * for example "no suitable node: 2 of 3 nodes lack resources (needs 64 CPUs; the largest free is
 * n2 with 2), 1 of 3 does not satisfy node.labels.zone==b".
 */
export function explainUnplaceable(candidates: Candidates): string {
  const views = candidates.state.nodes.views();
  if (views.length === 0) return 'no suitable node: the cluster has no nodes';
  const reasons = candidates
    .failures()
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([check, nodes], i) => {
      const noun = i > 0 ? '' : views.length === 1 ? ' node' : ' nodes';
      return `${nodes.length} of ${views.length}${noun} ${check.explain(nodes)}`;
    });
  return `no suitable node: ${reasons.join(', ')}`;
}

/** Why the node of a global service's task does not take it; undefined when it does. */
export function explainRefusal(
  request: PlacementRequest,
  view: NodeView,
  state: SchedulerState,
): string | undefined {
  const checks = [...staticChecks(request), ...nodeChecks(request, state)];
  const failed = checks.find((c) => !c.fits(view));
  return failed && `no place on its node: ${view.name} ${failed.explain([view])}`;
}
