import type { Filter } from './filters.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';

/**
 * Why no node takes the task: nodes counted by the first filter they fail, most frequent first,
 * for example "no suitable node: 2 of 3 nodes lack resources (needs 64 CPUs; the largest free is
 * n2 with 2), 1 of 3 does not satisfy node.labels.zone==b".
 */
export function explainUnplaceable(
  request: PlacementRequest,
  views: readonly NodeView[],
  filters: readonly Filter[],
): string {
  if (views.length === 0) return 'no suitable node: the cluster has no nodes';
  const failed = new Map<Filter, NodeView[]>();
  for (const view of views) {
    const filter = filters.find((f) => f.appliesTo(request) && !f.check(view, request));
    if (filter === undefined) continue;
    const list = failed.get(filter) ?? [];
    list.push(view);
    failed.set(filter, list);
  }
  const reasons = [...failed]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([filter, nodes], i) => {
      const noun = i > 0 ? '' : views.length === 1 ? ' node' : ' nodes';
      return `${nodes.length} of ${views.length}${noun} ${filter.explain(nodes, request)}`;
    });
  return `no suitable node: ${reasons.join(', ')}`;
}
