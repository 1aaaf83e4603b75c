import type { Task } from '../../common/model/objects.js';
import { isTerminal, isWanted } from '../../common/model/task-state.js';
import { LEADER_KEY } from '../../manager/store/keys.js';
import type { Guard, Store, Transaction, WatchHandler } from '../../manager/store/store.js';
import type { View, ViewListener } from '../../manager/view/view.js';
import { NodeAvailability, TaskState } from '../../proto/gen/hatoba/v1/types.js';
import type { Random } from '../../common/random.js';
import type { Mutation } from './world/cluster.js';

/** Mistakes that the simulation must find, by what they do wrong. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'writes of the loops carry no fence': {
    store: (store) => withCommits(store, withoutGuards(isFence)),
  },
  'writes are not compared with what was read': {
    store: (store) =>
      withCommits(
        store,
        withoutGuards((g) => !isFence(g) && isOfRead(g)),
      ),
  },
  'who campaigns does not look who leads': {
    store: (store) =>
      withCommits(
        store,
        withoutGuards((g) => g.key === LEADER_KEY && !isFence(g)),
      ),
  },
  'an event of a watch is lost now and then': {
    store: (store, random) => withLostEvents(store, random),
  },
  'the allocator forgets what tasks have': {
    view: (view) => withTasks(view, ['tasks'], (task) => ({ ...task, networksAttachments: [] })),
  },
  'the scheduler ignores what is reserved': {
    view: (view) => withTasks(view, ['tasks', 'onChange'], withoutReservations),
  },
  'the scheduler ignores ports of tasks': {
    view: (view) => withTasks(view, ['tasks', 'onChange'], withoutPorts),
  },
  'the reaper does not wait for containers': {
    view: (view) => withTasks(view, ['tasks'], asIfEnded),
  },
  'a task is replaced before it has ended': {
    view: (view) => withTasks(view, ['tasksOfService'], asIfEnded),
  },
  'nobody hears of changed nodes': {
    view: (view) => withListeners(view, (changes) => changes.filter((c) => c.kind !== 'node')),
  },
  'nobody hears of ended tasks': {
    view: (view) =>
      withListeners(view, (changes) =>
        changes.filter((c) => c.kind !== 'task' || !isTerminal(c.object.status.state)),
      ),
  },
  'drained nodes are taken for active': {
    view: (view) => withActiveNodes(view),
  },
};

// ---- stores ----------------------------------------------------------------------------------

function isFence(guard: Guard): boolean {
  return guard.key === LEADER_KEY && 'createRevision' in guard;
}

function isOfRead(guard: Guard): boolean {
  return 'revision' in guard && guard.revision > 0;
}

function withoutGuards(isLost: (guard: Guard) => boolean) {
  return (transaction: Transaction): Transaction => ({
    ...transaction,
    guards: transaction.guards.filter((g) => !isLost(g)),
  });
}

function withCommits(store: Store, change: (transaction: Transaction) => Transaction): Store {
  return { ...bound(store), commit: (transaction) => store.commit(change(transaction)) };
}

function withLostEvents(store: Store, random: Random): Store {
  return {
    ...bound(store),
    watch: (prefix, revision, handler) => {
      const lossy: WatchHandler = {
        onLost: (reason) => handler.onLost(reason),
        onEvents: (at, events) => {
          if (random.next() >= 0.05) handler.onEvents(at, events);
        },
      };
      return store.watch(prefix, revision, lossy);
    },
  };
}

function bound(store: Store): Store {
  return {
    list: (prefix) => store.list(prefix),
    get: (key) => store.get(key),
    watch: (...of) => store.watch(...of),
    commit: (transaction) => store.commit(transaction),
    grantLease: (ttlMs) => store.grantLease(ttlMs),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

// ---- views -----------------------------------------------------------------------------------

function withoutReservations(task: Task): Task {
  if (task.nodeId === '') return task;
  const reservations = { nanoCpus: 0, memoryBytes: 0, pids: 0, generic: [] };
  return { ...task, spec: { ...task.spec, resources: { ...task.spec.resources, reservations } } };
}

function withoutPorts(task: Task): Task {
  return task.nodeId === '' ? task : { ...task, hostPorts: [] };
}

function asIfEnded(task: Task): Task {
  if (isWanted(task.desiredState)) return task;
  return { ...task, status: { ...task.status, state: TaskState.SHUTDOWN } };
}

type Changes = Parameters<ViewListener>[0];

/** Tasks as seen by some of the view's methods. */
function withTasks(
  view: View,
  methods: readonly ('tasks' | 'task' | 'tasksOfService' | 'onChange')[],
  change: (task: Task) => Task,
): View {
  const changed = (changes: Changes): Changes =>
    changes.map((c) => (c.kind === 'task' ? { ...c, object: change(c.object) } : c));
  const seen = methods.includes('onChange') ? withListeners(view, changed) : view;
  return replaced(seen, (name, original) => {
    if (name === 'onChange' || !(methods as readonly string[]).includes(name)) return original;
    if (name !== 'task') {
      return (...of) => Array.from(original(...of) as Iterable<Task>, change);
    }
    return (id) => {
      const task = original(id) as Task | undefined;
      return task && change(task);
    };
  });
}

function withListeners(view: View, change: (changes: Changes) => Changes): View {
  return replaced(view, (name, original) =>
    name === 'onChange'
      ? (listener) =>
          original((changes: Changes, revision: number) => {
            (listener as ViewListener)(change(changes), revision);
          })
      : original,
  );
}

function withActiveNodes(view: View): View {
  const active = (node: ReturnType<View['node']>): unknown =>
    node && { ...node, spec: { ...node.spec, availability: NodeAvailability.ACTIVE } };
  return replaced(view, (name, original) => {
    if (name === 'node') return (id) => active(original(id) as ReturnType<View['node']>);
    if (name !== 'nodes') return original;
    return () => [...(original() as ReturnType<View['nodes']>)].map(active);
  });
}

type Method = (...args: unknown[]) => unknown;

/** The view with some of its methods replaced. */
function replaced(view: View, replace: (name: string, original: Method) => Method): View {
  return new Proxy(view, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      return replace(name, (...args) => Reflect.apply(value, target, args) as unknown);
    },
  });
}
