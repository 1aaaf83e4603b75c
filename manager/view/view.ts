import { HatobaError } from '../../common/errors.js';
import type {
  Attachment,
  Cluster,
  Network,
  Node,
  Service,
  ServiceRevision,
  Stack,
  Task,
} from '../../common/model/objects.js';
import type { Kind, ObjectOfKind, Snapshot } from '../core/snapshot.js';
import { placeOf } from '../../common/model/task-place.js';
import { uniqueNameOf } from '../store/keys.js';
import { SortedRevisions } from './sorted-revisions.js';
import { SortedTasks } from './sorted-tasks.js';

/** One object that changed; for `delete`, `object` is what it was last. */
export type ViewChange = {
  [K in Kind]: {
    type: 'put' | 'delete';
    kind: K;
    object: ObjectOfKind[K];
    previous: ObjectOfKind[K] | undefined;
  };
}[Kind];

/**
 * Called once per transaction, after all of it shows in the view; without changes when something
 * came that cannot be read.
 */
export type ViewListener = (changes: readonly ViewChange[], revision: number) => void;

/** What the reflector brings: decoded objects by their store key. */
export type ViewEvent = ViewPut | ViewUnreadable | { type: 'delete'; key: string };
/** A value that could not be decoded, as one of a newer version. */
export interface ViewUnreadable {
  type: 'unreadable';
  key: string;
}
export type ViewPut = {
  [K in Kind]: { type: 'put'; key: string; kind: K; object: ObjectOfKind[K] };
}[Kind];

type Tables = { readonly [K in Kind]: Map<string, ObjectOfKind[K]> };

interface Waiter {
  revision: number;
  resolve: () => void;
}

/**
 * The whole cluster state in memory, indexed, as of one revision.
 * 1. Objects are deeply frozen, and a changed object is a new one; so are the task lists.
 * 2. It changes only inside `apply` and `reset`, both synchronous and whole transactions: code
 *    without an await in it sees one revision.
 * 3. Listeners run after the change is complete, in order of registration.
 */
export class View implements Snapshot {
  #revision = 0;
  #leader: string | undefined;
  readonly #tables: Tables = {
    cluster: new Map(),
    service: new Map(),
    revision: new Map(),
    task: new Map(),
    node: new Map(),
    network: new Map(),
    stack: new Map(),
    attachment: new Map(),
  };
  /** What is under a store key, as a delete names only the key. */
  readonly #atKey = new Map<string, { kind: Kind; id: string }>();
  /** "<kind>/<name>" → id. */
  readonly #idOfName = new Map<string, string>();
  readonly #byService = new SortedTasks();
  readonly #byNode = new SortedTasks();
  readonly #revisions = new SortedRevisions();
  readonly #listeners = new Set<ViewListener>();
  readonly #waiters = new Set<Waiter>();
  readonly #unreadable = new Set<string>();

  get revision(): number {
    return this.#revision;
  }

  cluster(): Cluster | undefined {
    for (const cluster of this.#tables.cluster.values()) return cluster;
    return undefined;
  }

  service(id: string): Service | undefined {
    return this.#tables.service.get(id);
  }
  services(): Iterable<Service> {
    return this.#tables.service.values();
  }

  revisions(): Iterable<ServiceRevision> {
    return this.#tables.revision.values();
  }
  revisionsOfService(serviceId: string): readonly ServiceRevision[] {
    return this.#revisions.of(serviceId);
  }

  task(id: string): Task | undefined {
    return this.#tables.task.get(id);
  }
  tasks(): Iterable<Task> {
    return this.#tables.task.values();
  }
  tasksOfService(serviceId: string): readonly Task[] {
    return this.#byService.of(serviceId);
  }
  tasksOfNode(nodeId: string): readonly Task[] {
    return this.#byNode.of(nodeId);
  }

  node(id: string): Node | undefined {
    return this.#tables.node.get(id);
  }
  nodes(): Iterable<Node> {
    return this.#tables.node.values();
  }

  network(id: string): Network | undefined {
    return this.#tables.network.get(id);
  }
  networks(): Iterable<Network> {
    return this.#tables.network.values();
  }

  stack(id: string): Stack | undefined {
    return this.#tables.stack.get(id);
  }
  stacks(): Iterable<Stack> {
    return this.#tables.stack.values();
  }

  attachment(id: string): Attachment | undefined {
    return this.#tables.attachment.get(id);
  }
  attachments(): Iterable<Attachment> {
    return this.#tables.attachment.values();
  }

  /** Node id of the manager whose campaign key is in the store; it may just have died. */
  leaderNodeId(): string | undefined {
    return this.#leader;
  }

  /**
   * The object with that name. Nodes go by their name or hostname, tasks by "web.1", the newest of
   * the slot; of several nodes with one hostname, none.
   */
  findByName<K extends Kind>(kind: K, name: string): ObjectOfKind[K] | undefined {
    const id = this.#idOfName.get(`${kind}/${name}`);
    if (id !== undefined) return this.#tables[kind].get(id);
    const found = kind === 'task' ? this.#taskByName(name) : this.#nodeByName(kind, name);
    return found as ObjectOfKind[K] | undefined;
  }

  /**
   * What a user names: by id, else by name, else by a unique prefix of the id.
   * @throws {HatobaError} not-found; invalid-argument when the prefix fits several
   */
  findByPrefix<K extends Kind>(kind: K, idOrNameOrPrefix: string): ObjectOfKind[K] {
    const table = this.#tables[kind];
    const exact = table.get(idOrNameOrPrefix) ?? this.findByName(kind, idOrNameOrPrefix);
    if (exact !== undefined) return exact;
    const matches =
      idOrNameOrPrefix === ''
        ? []
        : [...table.values()].filter((o) => o.id.startsWith(idOrNameOrPrefix));
    const [first, second] = matches;
    if (first === undefined) {
      throw new HatobaError('not-found', `no ${kind} has the name or id "${idOrNameOrPrefix}"`);
    }
    if (second !== undefined) {
      const ids = matches.slice(0, 4).map((o) => o.id);
      throw new HatobaError(
        'invalid-argument',
        `"${idOrNameOrPrefix}" fits ${matches.length} ids of ${kind}s (${ids.join(', ')}${
          matches.length > 4 ? ', …' : ''
        }): give more of the id`,
      );
    }
    return first;
  }

  /**
   * Keys whose values could not be read: the view shows what was there before, or nothing. Good
   * enough to answer and to serve nodes, not to decide what is to be removed.
   */
  unreadableKeys(): readonly string[] {
    return [...this.#unreadable];
  }

  /** @returns a function that ends the subscription */
  onChange(listener: ViewListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Resolves once the view shows `revision`, so that a caller reads its own write.
   * @throws the signal's reason
   */
  waitFor(revision: number, signal?: AbortSignal): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason as Error);
      };
      const waiter: Waiter = {
        revision,
        resolve: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      if (signal?.aborted === true) {
        onAbort();
        return;
      }
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Applies one transaction. A revision the view already shows is ignored. */
  apply(revision: number, events: readonly ViewEvent[]): void {
    if (revision <= this.#revision) return;
    this.#change(revision, events);
  }

  /**
   * Replaces everything by a new list, as after a lost watch. Listeners hear only of what differs.
   * @param objects the whole content, by key
   */
  reset(revision: number, objects: readonly (ViewPut | ViewUnreadable)[]): void {
    this.#unreadable.clear();
    const listed = new Set(objects.map((o) => o.key));
    const gone = [...this.#atKey.keys()]
      .filter((key) => !listed.has(key))
      .map((key): ViewEvent => ({ type: 'delete', key }));
    const changed = objects.filter(
      (o) =>
        o.type === 'unreadable' ||
        this.#tables[o.kind].get(o.object.id)?.version !== o.object.version,
    );
    this.#change(revision, [...gone, ...changed]);
  }

  setLeader(nodeId: string | undefined): void {
    this.#leader = nodeId;
  }

  #change(revision: number, events: readonly ViewEvent[]): void {
    this.#byService.startBatch();
    this.#byNode.startBatch();
    const changes: ViewChange[] = [];
    for (const event of events) {
      if (event.type === 'unreadable') {
        this.#unreadable.add(event.key);
        continue;
      }
      this.#unreadable.delete(event.key);
      if (event.type === 'delete') this.#delete(event.key, changes);
      else this.#put(event, changes);
    }
    this.#revision = revision;
    for (const waiter of this.#waiters) {
      if (waiter.revision > revision) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
    const isWorthAWord = changes.length > 0 || events.some((e) => e.type === 'unreadable');
    if (isWorthAWord) this.#tell(changes, revision);
  }

  #tell(changes: readonly ViewChange[], revision: number): void {
    const errors: unknown[] = [];
    for (const listener of [...this.#listeners]) {
      try {
        listener(changes, revision);
      } catch (error) {
        errors.push(error); // the other listeners must still hear of it
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'listeners of the view');
  }

  #put(event: ViewPut, changes: ViewChange[]): void {
    const { key, kind, object } = event;
    const there = this.#atKey.get(key);
    if (there !== undefined && there.id !== object.id) this.#delete(key, changes); // made anew
    const table = this.#tables[kind] as Map<string, ObjectOfKind[Kind]>;
    const previous = table.get(object.id);
    if (previous !== undefined) this.#unindex(kind, previous);
    table.set(object.id, object);
    this.#atKey.set(key, { kind, id: object.id });
    const name = uniqueNameOf(kind, object);
    if (name !== undefined) this.#idOfName.set(`${kind}/${name}`, object.id);
    if (kind === 'revision') this.#revisions.put(object);
    if (kind === 'task') {
      this.#byService.put(object.serviceId, object);
      if (object.nodeId !== '') this.#byNode.put(object.nodeId, object);
    }
    changes.push({ type: 'put', kind, object, previous } as ViewChange);
  }

  #delete(key: string, changes: ViewChange[]): void {
    const there = this.#atKey.get(key);
    if (there === undefined) return;
    const object = this.#tables[there.kind].get(there.id);
    this.#atKey.delete(key);
    this.#tables[there.kind].delete(there.id);
    if (object === undefined) return;
    this.#unindex(there.kind, object);
    changes.push({ type: 'delete', kind: there.kind, object, previous: object } as ViewChange);
  }

  #unindex(kind: Kind, object: ObjectOfKind[Kind]): void {
    const name = uniqueNameOf(kind, object);
    if (name !== undefined && this.#idOfName.get(`${kind}/${name}`) === object.id) {
      this.#idOfName.delete(`${kind}/${name}`);
    }
    if (kind === 'revision') this.#revisions.remove(object as ServiceRevision);
    if (kind !== 'task') return;
    const task = object as Task;
    this.#byService.remove(task.serviceId, task);
    if (task.nodeId !== '') this.#byNode.remove(task.nodeId, task);
  }

  #taskByName(name: string): Task | undefined {
    const match = /^([^.]+)\.(.+)$/.exec(name); // no service has a dot in its name, nodes may
    const service = this.findByName('service', match?.[1] ?? '');
    const place = match?.[2] ?? '';
    if (service === undefined) return undefined;
    const tasks = this.tasksOfService(service.id);
    return tasks.findLast((t) => String(placeOf(t)) === place) ?? this.#taskOnNode(tasks, place);
  }

  #taskOnNode(tasks: readonly Task[], nodeName: string): Task | undefined {
    const node = this.#nodeByName('node', nodeName);
    return tasks.findLast((t) => t.slot === 0 && t.nodeId === node?.id);
  }

  #nodeByName(kind: Kind, name: string): Node | undefined {
    if (kind !== 'node') return undefined;
    const named = [...this.nodes()].filter((n) => n.spec.name === name);
    const found =
      named.length > 0 ? named : [...this.nodes()].filter((n) => n.description.hostname === name);
    return found.length === 1 ? found[0] : undefined;
  }
}
