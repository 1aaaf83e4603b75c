import { isMeant, SAME_NODE, type ServiceAffinity } from '../affinity.js';
import { countOfAffinity } from '../counters.js';
import type { NodeView } from '../node-view.js';
import type { PlacementRequest } from '../request.js';
import type { SchedulerState } from '../state.js';
import { verb, type Check } from './check.js';

/** Conditions that a class has on the tasks near it, and those that others have on it. */
export function affinityChecks(request: PlacementRequest, state: SchedulerState): Check[] {
  return [
    ...request.away.map((affinity) => awayCheck(affinity, request, state)),
    ...repelledChecks(request, state),
    ...request.towards.map((affinity) => towardCheck(affinity, request, state)),
  ];
}

function awayCheck(
  affinity: ServiceAffinity,
  { place }: PlacementRequest,
  state: SchedulerState,
): Check {
  const counter = state.counter(countOfAffinity(affinity));
  return {
    fits: (view) => counter.on(view, place) === 0,
    explain: (failed) =>
      `${verb(failed, 'has', 'have')} tasks ${nearby(affinity, failed)} that it is to be apart from (${affinity.expression})`,
  };
}

/** What is to be apart from this class keeps it away, whichever of them came first. */
function repelledChecks({ task, place }: PlacementRequest, state: SchedulerState): Check[] {
  const checks: Check[] = [];
  for (const { affinity, counter } of state.repellers()) {
    if (!isMeant(affinity, task) || counter.isEmpty(place)) continue;
    checks.push({
      fits: (view) => counter.on(view, place) === 0,
      explain: (failed) =>
        `${verb(failed, 'has', 'have')} tasks ${nearby(affinity, failed)} that are to be apart from it (their ${affinity.expression})`,
    });
  }
  return checks;
}

/** A class that is drawn to itself may begin anywhere: there is nothing yet to be near to. */
function towardCheck(
  affinity: ServiceAffinity,
  { task, place }: PlacementRequest,
  state: SchedulerState,
): Check {
  const counter = state.counter(countOfAffinity(affinity));
  const isOwn = isMeant(affinity, task);
  const baseline = (): number => Number(counter.isEmpty(place));
  return {
    fits: (view) => counter.on(view, place) > 0 || (isOwn && counter.isEmpty(place)),
    explain: (failed) => {
      const none = counter.isEmpty(place) ? '; there is none in the cluster' : '';
      return `${verb(failed, 'has', 'have')} no task ${nearby(affinity, failed)} that it is to be near to (${affinity.expression}${none})`;
    },
    ...(isOwn ? { shiftsWith: [affinity.topology], baseline } : {}),
  };
}

function nearby({ topology }: ServiceAffinity, failed: readonly NodeView[]): string {
  return topology === SAME_NODE ? 'there' : `in ${verb(failed, 'its', 'their')} ${topology}`;
}
