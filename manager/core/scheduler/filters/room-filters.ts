import { formatBytes } from '../../../../common/bytes.js';
import type { Task } from '../../../../common/model/objects.js';
import { holderName } from '../../allocator/node-ports.js';
import { portText } from '../../allocator/ports.js';
import { countOfService } from '../counters.js';
import { SAME_NODE } from '../affinity.js';
import { genericCountOf } from '../generic.js';
import type { NodeView } from '../node-view.js';
import type { PlacementRequest } from '../request.js';
import type { SchedulerState } from '../state.js';
import { shortened, verb, type Check } from './check.js';

/** What depends on the tasks that are there, too. Undefined: of no concern. */
export type Filter = (request: PlacementRequest, state: SchedulerState) => Check | undefined;

/** One kind of resource that a class reserves. */
export interface Need {
  readonly needed: number;
  readonly freeOn: (view: NodeView) => number;
  readonly heldBy: (task: Task) => number;
  /** "4 CPUs" is an amount that is shown, and its unit. */
  readonly show: (amount: number) => string;
  readonly unit: string;
}

/** What a task needs of its node, in numbers. */
export function needsOf({ task }: PlacementRequest): Need[] {
  const { nanoCpus, memoryBytes, pids, generic } = task.spec.resources.reservations;
  const needs: Need[] = [
    {
      needed: nanoCpus,
      freeOn: (v) => v.free.nanoCpus,
      heldBy: (t) => t.spec.resources.reservations.nanoCpus,
      show: (n) => String(Number((n / 1e9).toFixed(3))),
      unit: ' CPUs',
    },
    {
      needed: memoryBytes,
      freeOn: (v) => v.free.memoryBytes,
      heldBy: (t) => t.spec.resources.reservations.memoryBytes,
      show: formatBytes,
      unit: ' of memory',
    },
    {
      needed: pids,
      freeOn: (v) => v.free.pids,
      heldBy: (t) => t.spec.resources.reservations.pids,
      show: String,
      unit: ' PIDs',
    },
    ...generic.map(({ kind, count }) => ({
      needed: count,
      freeOn: (v: NodeView) => v.generic.free(kind),
      heldBy: (t: Task) => genericCountOf(t, kind),
      show: String,
      unit: ` ${kind}`,
    })),
  ];
  return needs.filter((n) => n.needed > 0);
}

const resources: Filter = (request) => {
  const needs = needsOf(request);
  if (needs.length === 0) return undefined;
  return {
    fits: (view) => {
      for (const { needed, freeOn } of needs) if (freeOn(view) < needed) return false;
      return true;
    },
    explain: (failed) => {
      const lacking = needs.flatMap((need) => {
        const [first, ...others] = failed.filter((v) => need.freeOn(v) < need.needed);
        if (first === undefined) return [];
        const most = others.reduce((a, b) => (need.freeOn(b) > need.freeOn(a) ? b : a), first);
        const free = need.show(Math.max(0, need.freeOn(most)));
        return `needs ${need.show(need.needed)}${need.unit}; the largest free is ${most.name} with ${free}`;
      });
      return `${verb(failed, 'lacks', 'lack')} resources (${lacking.join(', ')})`;
    },
  };
};

const hostPorts: Filter = ({ task }) => {
  if (task.hostPorts.length === 0) return undefined;
  return {
    fits: (view) => !task.hostPorts.some((port) => view.hasHostPort(port)),
    explain: (failed) => {
      const taken = task.hostPorts.filter((port) => failed.some((v) => v.hasHostPort(port)));
      const holders = taken.flatMap((port) =>
        failed.flatMap((v) => {
          const use = v.usedPort(port);
          return use === undefined ? [] : `on ${v.name} by ${holderName(use)}`;
        }),
      );
      const by = holders.length === 0 ? '' : ` (${shortened(holders)})`;
      return `${verb(failed, 'has', 'have')} port ${taken.map(portText).join(', ')} in use${by}`;
    },
  };
};

const maxReplicas: Filter = ({ task, place }, state) => {
  const { maxReplicas: most } = task.spec.placement;
  if (most === 0) return undefined;
  const counter = state.counter(countOfService(task.serviceId, [SAME_NODE]));
  return {
    fits: (view) => counter.on(view, place) < most,
    explain: (failed) => `${verb(failed, 'has', 'have')} max ${most} replicas per node`,
  };
};

export const ROOM_FILTERS: readonly Filter[] = [resources, hostPorts, maxReplicas];
