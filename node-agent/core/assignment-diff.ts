import type { Task } from '../../common/model/objects.js';
import type {
  AssignmentsMessage,
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import { AssignmentAction, AssignmentsType } from '../../proto/gen/hatoba/v1/dispatcher.js';

/** Everything the managers have assigned to this node, as of one message. Never changed in place. */
export interface Assignments {
  /** `results_in` of the newest message; empty before the first. */
  readonly sequence: string;
  /** Store revision that the newest message reflects. */
  readonly revision: number;
  readonly tasks: ReadonlyMap<string, Task>;
  /** Keys: network id; network id and task id; network id and service id; node id. */
  readonly networks: ReadonlyMap<string, NetworkConfig>;
  readonly endpoints: ReadonlyMap<string, NetworkEndpoint>;
  readonly services: ReadonlyMap<string, NetworkService>;
  readonly peers: ReadonlyMap<string, NetworkPeer>;
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
    tasks: new Map(Array.from(tasks, (task) => [task.id, task])),
    networks: new Map(),
    endpoints: new Map(),
    services: new Map(),
    peers: new Map(),
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
      removed: [...state.tasks.keys()].filter((id) => !tasks.has(id)).sort(),
    },
    isNetworkChanged: true,
  };
}

const NETWORK_TABLES = ['networks', 'endpoints', 'services', 'peers'] as const;

function applyChanges(state: Assignments, message: CheckedMessage): AssignmentStep {
  const draft = new Draft(state);
  for (const change of message.changes) draft.apply(change);
  const assignments: Assignments = {
    ...draft.tables(),
    sequence: message.resultsIn,
    revision: message.revision,
  };
  const changed = draft.changedTasks();
  return {
    assignments,
    tasks: {
      updated: changed.flatMap((id) => assignments.tasks.get(id) ?? []),
      removed: changed.filter((id) => !assignments.tasks.has(id)),
    },
    isNetworkChanged: NETWORK_TABLES.some((table) => assignments[table] !== state[table]),
  };
}

type Tables = Pick<Assignments, 'tasks' | 'networks' | 'endpoints' | 'services' | 'peers'>;

/** Copies a table at its first write, so that a message costs what it changes. */
class Draft {
  readonly #tables: { -readonly [K in keyof Tables]: Tables[K] };
  readonly #copies = new Map<keyof Tables, Map<string, unknown>>();
  readonly #changedTasks = new Set<string>();

  constructor(state: Tables) {
    const { tasks, networks, endpoints, services, peers } = state;
    this.#tables = { tasks, networks, endpoints, services, peers };
  }

  apply(change: CheckedChange): void {
    const { item } = change;
    if (item === undefined) return;
    const isRemoval = change.action === AssignmentAction.REMOVE;
    const [table, key] = placeOf(item);
    if (table === 'tasks') this.#changedTasks.add(key);
    if (isRemoval && !this.#tables[table].has(key)) return;
    const copy = this.#copyOf(table);
    if (isRemoval) copy.delete(key);
    else copy.set(key, item.value);
  }

  tables(): Tables {
    return this.#tables;
  }

  changedTasks(): string[] {
    return [...this.#changedTasks].sort();
  }

  #copyOf(table: keyof Tables): Map<string, unknown> {
    let copy = this.#copies.get(table);
    if (copy === undefined) {
      copy = new Map<string, unknown>(this.#tables[table]);
      this.#copies.set(table, copy);
      Object.assign(this.#tables, { [table]: copy });
    }
    return copy;
  }
}

function placeOf(item: NonNullable<CheckedChange['item']>): [keyof Tables, string] {
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
    networks: sortedValues(assignments.networks),
    endpoints: sortedValues(assignments.endpoints),
    services: sortedValues(assignments.services),
    peers: sortedValues(assignments.peers),
  };
}

function sortedValues<T>(table: ReadonlyMap<string, T>): T[] {
  return [...table.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}
