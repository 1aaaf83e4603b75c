import { formatBytes } from '../../../common/bytes.js';
import { toWord } from '../../../common/model/words.js';
import { NodeAvailability, NodeState, type Resources } from '../../../proto/gen/hatoba/v1/types.js';
import { holderName } from '../allocator/node-ports.js';
import { portText } from '../allocator/ports.js';
import { matchesConstraint, matchesPlatform } from './constraint.js';
import type { NodeView } from './node-view.js';
import type { PlacementRequest } from './request.js';

/**
 * One reason why a node may not take a task. Filters hold no state; they run in the order of
 * FILTERS, the cheap and the lasting ones first.
 */
export interface Filter {
  readonly name: string;
  appliesTo(request: PlacementRequest): boolean;
  check(view: NodeView, request: PlacementRequest): boolean;
  /** What nodes that fail have in common, after "2 of 3 nodes": "lack resources (…)". */
  explain(failed: readonly NodeView[], request: PlacementRequest): string;
}

/** "lacks" for one node, "lack" for several. */
function verb(failed: readonly NodeView[], one: string, many: string): string {
  return failed.length === 1 ? one : many;
}

/** The first few of a list. */
function shortened(items: readonly string[]): string {
  return items.length > 3 ? `${items.slice(0, 3).join(', ')}, …` : items.join(', ');
}

const ready: Filter = {
  name: 'ready',
  appliesTo: () => true,
  check: ({ node }) =>
    node.status.state === NodeState.READY && node.spec.availability === NodeAvailability.ACTIVE,
  explain: (failed) => {
    const why = failed.map((v) => `${v.name} is ${conditionOf(v)}`);
    return `${verb(failed, 'takes', 'take')} no tasks (${shortened(why)})`;
  },
};

function conditionOf({ node }: NodeView): string {
  if (node.status.state !== NodeState.READY) return toWord(node.status.state);
  return node.spec.availability === NodeAvailability.DRAIN ? 'drained' : 'paused';
}

const constraints: Filter = {
  name: 'constraints',
  appliesTo: (request) => request.constraints.length > 0,
  check: ({ node }, request) => request.constraints.every((c) => matchesConstraint(c, node)),
  explain: (failed, request) => {
    const broken = request.constraints.filter((c) =>
      failed.some((v) => !matchesConstraint(c, v.node)),
    );
    const expressions = broken.map((c) => c.expression).join(' and ');
    return `${verb(failed, 'does', 'do')} not satisfy ${expressions}`;
  },
};

const platform: Filter = {
  name: 'platform',
  appliesTo: ({ task }) => task.spec.placement.platforms.length > 0,
  check: ({ node }, { task }) => matchesPlatform(node, task.spec.placement.platforms),
  explain: (failed, { task }) => {
    const wanted = task.spec.placement.platforms.map((p) => `${p.os}/${p.architecture}`);
    return `${verb(failed, 'is', 'are')} not of platform ${wanted.join(' or ')}`;
  },
};

const RESOURCES = ['nanoCpus', 'memoryBytes', 'pids'] as const satisfies (keyof Resources)[];
/** What a reservation is counted in: how it is shown. */
const RESOURCE_WORDS: Readonly<Record<(typeof RESOURCES)[number], (amount: number) => string>> = {
  nanoCpus: (n) => String(Math.max(0, Number((n / 1e9).toFixed(3)))),
  memoryBytes: (n) => formatBytes(Math.max(0, n)),
  pids: (n) => String(Math.max(0, n)),
};
const RESOURCE_NAMES: Readonly<Record<(typeof RESOURCES)[number], string>> = {
  nanoCpus: ' CPUs',
  memoryBytes: ' of memory',
  pids: ' PIDs',
};
const resources: Filter = {
  name: 'resources',
  appliesTo: ({ task }) => RESOURCES.some((r) => task.spec.resources.reservations[r] > 0),
  check: ({ free }, { task }) => {
    const { nanoCpus, memoryBytes, pids } = task.spec.resources.reservations;
    return (
      (nanoCpus === 0 || nanoCpus <= free.nanoCpus) &&
      (memoryBytes === 0 || memoryBytes <= free.memoryBytes) &&
      (pids === 0 || pids <= free.pids)
    );
  },
  explain: (failed, { task }) => {
    const lacking = RESOURCES.flatMap((resource) => {
      const needed = task.spec.resources.reservations[resource];
      const short = failed.filter((v) => needed > 0 && v.free[resource] < needed);
      const [first, ...others] = short;
      if (first === undefined) return [];
      const most = others.reduce((a, b) => (b.free[resource] > a.free[resource] ? b : a), first);
      const word = RESOURCE_WORDS[resource];
      const name = RESOURCE_NAMES[resource];
      return `needs ${word(needed)}${name}; the largest free is ${most.name} with ${word(most.free[resource])}`;
    });
    return `${verb(failed, 'lacks', 'lack')} resources (${lacking.join(', ')})`;
  },
};

const hostPorts: Filter = {
  name: 'host-ports',
  appliesTo: ({ task }) => task.hostPorts.length > 0,
  check: (view, { task }) => !task.hostPorts.some((port) => view.hasHostPort(port)),
  explain: (failed, { task }) => {
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

const maxReplicas: Filter = {
  name: 'max-replicas',
  appliesTo: ({ task }) => task.spec.placement.maxReplicas > 0,
  check: (view, { task }) => view.tasksOfService(task.serviceId) < task.spec.placement.maxReplicas,
  explain: (failed, { task }) =>
    `${verb(failed, 'has', 'have')} max ${task.spec.placement.maxReplicas} replicas per node`,
};

/** Those that a placement cannot change. */
export const STATIC_FILTERS: readonly Filter[] = [ready, constraints, platform];
/** Those to be checked again on a node after each placement there. */
export const DYNAMIC_FILTERS: readonly Filter[] = [resources, hostPorts, maxReplicas];
