import type { Task } from '../../../common/model/objects.js';
import { parseConstraint, type Constraint } from './constraint.js';

/** What a group of equal tasks asks of a node; worked out once for all of them. */
export interface PlacementRequest {
  /** Stands for the group: same service, same spec. */
  readonly task: Task;
  readonly constraints: readonly Constraint[];
  /** Keys of the labels to spread over, outermost first. */
  readonly spreadKeys: readonly string[];
  /** See failureKeyOf. */
  readonly failureKey: string;
}

export function requestOf(task: Task): PlacementRequest {
  const { constraints, preferences } = task.spec.placement;
  return {
    task,
    failureKey: failureKeyOf(task),
    constraints: constraints.map(parseConstraint),
    spreadKeys: preferences.map((p) => p.spreadDescriptor).filter((key) => key !== ''),
  };
}

/** Failures are remembered per service and spec: a new spec starts with a clean record. */
export function failureKeyOf(task: Task): string {
  return `${task.serviceId} ${task.specVersion}`;
}
