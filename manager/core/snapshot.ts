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

/**
 * All objects of the cluster as of one revision. The manager's view is one (it changes only
 * between two turns of the event loop, so a synchronous planner sees one revision); tests build
 * one from arrays with `snapshotOf` in test/support/builders.ts. Objects are frozen.
 */
export interface Snapshot {
  readonly revision: number;
  cluster(): Cluster | undefined;

  service(id: string): Service | undefined;
  services(): Iterable<Service>;

  revisions(): Iterable<ServiceRevision>;
  /** The specs the service has had, in order of their numbers; the last is the present one. */
  revisionsOfService(serviceId: string): readonly ServiceRevision[];

  task(id: string): Task | undefined;
  tasks(): Iterable<Task>;
  /** In order of place (see common/model/task-place.ts), then generation. */
  tasksOfService(serviceId: string): readonly Task[];
  tasksOfNode(nodeId: string): readonly Task[];

  node(id: string): Node | undefined;
  nodes(): Iterable<Node>;

  network(id: string): Network | undefined;
  networks(): Iterable<Network>;

  stack(id: string): Stack | undefined;
  stacks(): Iterable<Stack>;

  attachments(): Iterable<Attachment>;
}

/** Objects by the kind that names them in keys and changes. */
export interface ObjectOfKind {
  cluster: Cluster;
  service: Service;
  revision: ServiceRevision;
  task: Task;
  node: Node;
  network: Network;
  stack: Stack;
  attachment: Attachment;
}
export type Kind = keyof ObjectOfKind;

/**
 * One intended write. `create`: the object's key (and name) must be free. `update` and `remove`:
 * the stored object must still have `object.version`. The writer fills version and updatedAtMs.
 */
export type Change = {
  [K in Kind]: {
    action: 'create' | 'update' | 'remove';
    kind: K;
    object: ObjectOfKind[K];
  };
}[Kind];

/** What a planner decided: writes, as data, and when to look again at the latest. */
export interface Plan {
  /**
   * Each inner list is committed atomically (at most 100 changes); the lists in any order and in as
   * few transactions as fit.
   */
  groups: readonly (readonly Change[])[];
  /** Objects that were read and must not have changed for any group to be applied. */
  guards?: readonly { kind: Kind; object: ObjectOfKind[Kind] }[];
  requeueAfterMs?: number;
}
