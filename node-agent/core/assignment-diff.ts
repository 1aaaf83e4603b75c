import type { Task } from '../../common/model/objects.js';
import type {
  AssignmentsMessage,
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import { AssignmentAction, AssignmentsType } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { SortedTable } from './sorted-table.js';

/** Everything the managers have assigned to this node, as of one message. Never changed in place. */
export interface Assignments {
  /** `results_in` of the newest message; empty before the first. */
  readonly sequence: string;
  /** Store revision that the newest message reflects. */
  readonly revision: number;
  readonly tasks: SortedTable<Task>;
  /** Keys: network id; network id and task id; network id and service id; node id. */
  readonly networks: SortedTable<NetworkConfig>;
  readonly endpoints: SortedTable<NetworkEndpoint>;
  readonly services: SortedTable<NetworkService>;
  readonly peers: SortedTable<NetworkPeer>;
}

/** A message with its tasks checked: what the session hands on. */
export type CheckedChange =
  | {
      readonly action: AssignmentAction;
      readonly item: Exclude<AssignmentsMessage['changes'][number]['item'], { $case: 'task' }>;
    }
  | {
      readonly action: typeof AssignmentAction.UPDATE;
      readonly item: { readonly $case: 'task'; readonly value: Task };
    }
  | {
      readonly action: typeof AssignmentAction.REMOVE;
      readonly item: { readonly $case: 'task'; readonly value: { readonly id: string } };
    };
export type CheckedMessage = Omit<AssignmentsMessage, 'changes'> & {
  readonly changes: readonly CheckedChange[];
};

/** What one message means for the parts of the agent. */
export interface AssignmentStep {
  readonly assignments: Assignments;
  readonly tasks: { readonly updated: readonly Task[]; readonly removed: readonly string[] };
  readonly isNetworkChanged: boolean;
}

/** The network part, in the shape that the network driver takes. */
export interface NetworkView {
  nodeId: string;
  networks: readonly NetworkConfig[];
  endpoints: readonly NetworkEndpoint[];
  services: readonly NetworkService[];
  peers: readonly NetworkPeer[];
}

/** The state before the first message, with the tasks that this node already holds. */
export function initialAssignments(tasks: Iterable<Task> = []): Assignments {
  return {
    sequence: '',
    revision: 0,
    tasks: SortedTable.from(Array.from(tasks, (task) => [task.id, task] as const)),
    networks: SortedTable.from(),
    endpoints: SortedTable.from(),
    services: SortedTable.from(),
    peers: SortedTable.from(),
  };
}

/**
 * Applies one message. A COMPLETE one is the truth: what it does not name is removed.
 * @returns undefined when an INCREMENTAL message does not follow the state at hand: the stream must
 *   then be opened anew
 */
export function applyAssignments(
  state: Assignments,
  message: CheckedMessage,
): AssignmentStep | undefined {
  if (message.type === AssignmentsType.COMPLETE) return applyComplete(state, message);
  if (message.appliesTo !== state.sequence || state.sequence === '') return undefined;
  return applyChanges(state, message);
}

function applyComplete(state: Assignments, message: CheckedMessage): AssignmentStep {
  const step = applyChanges(initialAssignments(), message);
  const { tasks } = step.assignments;
  return {
    assignments: step.assignments,
    tasks: {
      updated: step.tasks.updated,
      removed: state.tasks.keys().filter((id) => !tasks.has(id)),
    },
    isNetworkChanged: true,
  };
}

const NETWORK_TABLES = ['networks', 'endpoints', 'services', 'peers'] as const;

function applyChanges(state: Assignments, message: CheckedMessage): AssignmentStep {
  const changes: Changes = {
    tasks: new Map(),
    networks: new Map(),
    endpoints: new Map(),
    services: new Map(),
    peers: new Map(),
  };
  for (const change of message.changes) note(changes, change);
  const assignments: Assignments = {
    tasks: after(state.tasks, changes.tasks),
    networks: after(state.networks, changes.networks),
    endpoints: after(state.endpoints, changes.endpoints),
    services: after(state.services, changes.services),
    peers: after(state.peers, changes.peers),
    sequence: message.resultsIn,
    revision: message.revision,
  };
  const changed = [...changes.tasks.keys()].sort();
  return {
    assignments,
    tasks: {
      updated: changed.flatMap((id) => assignments.tasks.get(id) ?? []),
      removed: changed.filter((id) => !assignments.tasks.has(id)),
    },
    isNetworkChanged: NETWORK_TABLES.some((table) => assignments[table] !== state[table]),
  };
}

/** New values by key, of each table; undefined: removed. */
type Changes = {
  readonly [K in 'tasks' | (typeof NETWORK_TABLES)[number]]: Map<
    string,
    Assignments[K]['values'][number] | undefined
  >;
};

function note(changes: Changes, { action, item }: CheckedChange): void {
  if (item === undefined) return;
  const [table, key] = placeOf(item);
  const value = action === AssignmentAction.REMOVE ? undefined : item.value;
  (changes[table] as Map<string, unknown>).set(key, value);
}

/** The very same table where nothing changes. */
function after<V>(
  table: SortedTable<V>,
  changes: ReadonlyMap<string, V | undefined>,
): SortedTable<V> {
  const isSame = [...changes].every(([key, value]) => value === undefined && !table.has(key));
  return isSame ? table : table.with(changes);
}

function placeOf(item: NonNullable<CheckedChange['item']>): [keyof Changes, string] {
  switch (item.$case) {
    case 'task':
      return ['tasks', item.value.id];
    case 'network':
      return ['networks', item.value.networkId];
    case 'endpoint':
      return ['endpoints', `${item.value.networkId}/${item.value.taskId}`];
    case 'service':
      return ['services', `${item.value.networkId}/${item.value.serviceId}`];
    case 'peer':
      return ['peers', item.value.nodeId];
  }
}

/** In order of the keys, so that equal states give equal views. */
export function toNetworkView(assignments: Assignments, nodeId: string): NetworkView {
  return {
    nodeId,
    networks: assignments.networks.values,
    endpoints: assignments.endpoints.values,
    services: assignments.services.values,
    peers: assignments.peers.values,
  };
}
