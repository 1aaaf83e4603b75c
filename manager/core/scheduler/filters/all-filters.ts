import type { PlacementRequest } from '../request.js';
import type { SchedulerState } from '../state.js';
import { affinityChecks } from './affinity-filters.js';
import type { Check } from './check.js';
import { ROOM_FILTERS } from './room-filters.js';
import { spreadChecks } from './spread-filter.js';

/** Those that depend on what tasks are where, for a task that may go to any node. */
export function dynamicChecks(request: PlacementRequest, state: SchedulerState): Check[] {
  return [...nodeChecks(request, state), ...spreadChecks(request, state)];
}

/** The same for a task whose node is given: how others are spread is no matter of its own. */
export function nodeChecks(request: PlacementRequest, state: SchedulerState): Check[] {
  return [
    ...ROOM_FILTERS.flatMap((filter) => filter(request, state) ?? []),
    ...affinityChecks(request, state),
  ];
}
