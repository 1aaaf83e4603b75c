import type { Task } from '../../proto/gen/hatoba/v1/types.js';

/**
 * What a task and the tasks before and after it share: the number of its slot, from 1, or for a
 * global service, which has one task to a node, that node's id.
 */
export type Place = number | string;

type Placed = Pick<Task, 'slot' | 'nodeId'>;

export function placeOf({ slot, nodeId }: Placed): Place {
  return slot === 0 ? nodeId : slot;
}

/** Slots by their numbers, before nodes by their ids. */
export function comparePlaces(a: Place, b: Place): number {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : -1;
  if (typeof b === 'number') return 1;
  return a === b ? 0 : a < b ? -1 : 1;
}

/** "web.3", of a global service "web.0r5o6ti2zgqcg3wr1dsjz1vyf": stays when the task is replaced. */
export function placeName(task: Placed & Pick<Task, 'serviceName'>): string {
  return `${task.serviceName}.${placeOf(task)}`;
}

/** "web.3.<id>": what people see; unique for ever. */
export function taskName(task: Placed & Pick<Task, 'id' | 'serviceName'>): string {
  return `${placeName(task)}.${task.id}`;
}
