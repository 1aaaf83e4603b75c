import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';

/**
 * The better node for one more task of the service, negative if it is `a`: not one where its tasks
 * keep failing, then the one with fewest of its tasks, then fewest tasks in all, then by id.
 */
export function compareNodes(a: NodeView, b: NodeView, request: PlacementRequest): number {
  const { serviceId } = request.task;
  const { failureKey } = request;
  return (
    Number(a.isFailing(failureKey)) - Number(b.isFailing(failureKey)) ||
    a.tasksOfService(serviceId) - b.tasksOfService(serviceId) ||
    a.tasks - b.tasks ||
    (a.node.id < b.node.id ? -1 : 1)
  );
}
