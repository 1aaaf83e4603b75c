import type { Attachment, Network, Service, Task } from '../../../common/model/objects.js';
import { isWanted } from '../../../common/model/task-state.js';
import { TaskState, type Endpoint } from '../../../proto/gen/hatoba/v1/types.js';
import type { Snapshot } from '../snapshot.js';
import { Addresses, type AddressCursors } from './addresses.js';
import { PortTable } from './ports.js';

/**
 * What the allocator knows of the cluster: who has which address and publishes which port, and which
 * tasks wait for addresses. It is fed with changes, so that giving costs what is given rather than
 * all that is there; and with what is decided, so that nothing is given twice while it is written.
 * 1. It depends on what objects there are alone, not on the order in which they came.
 * 2. Putting an object replaces what was known of it, so what was decided and never written is
 *    forgotten by putting the object as it is stored.
 */
export class AllocationState {
  readonly addresses: Addresses;
  readonly ports = new PortTable();
  /** As they are counted. */
  readonly #services = new Map<string, Service>();
  readonly #waiting = new Map<string, Task>();

  private constructor(snapshot: Snapshot, cursors?: AddressCursors) {
    this.addresses = new Addresses(snapshot, cursors);
    for (const service of snapshot.services()) this.#count(service);
    for (const task of snapshot.tasks()) this.#list(task);
  }

  /** @param cursors hints, see Addresses */
  static of(snapshot: Snapshot, cursors?: AddressCursors): AllocationState {
    return new AllocationState(snapshot, cursors);
  }

  /** Tasks without addresses, which are to run. */
  waiting(): Task[] {
    return [...this.#waiting.values()];
  }

  /** Whether more is decided of the service than this object shows. */
  isUnderWay(service: Service): boolean {
    return this.#services.get(service.id) !== service;
  }

  putNetwork(network: Network): void {
    this.addresses.open(network);
  }
  deleteNetwork(id: string): void {
    this.addresses.close(id);
  }

  putService(object: Service): void {
    this.addresses.put({ kind: 'service', object });
    this.#count(object);
  }
  deleteService(id: string): void {
    this.addresses.delete(id);
    this.ports.release(id);
    this.#services.delete(id);
  }

  /**
   * The service is about to have another endpoint. Until that is seen it holds both, as the one or
   * the other is what is stored.
   */
  decideService(service: Service, endpoint: Endpoint): void {
    const { ports, virtualIps } = service.endpoint;
    const isKept = ({ networkId, addr }: (typeof virtualIps)[number]): boolean =>
      endpoint.virtualIps.some((v) => v.networkId === networkId && v.addr === addr);
    const both = {
      ...endpoint,
      ports: [...endpoint.ports, ...ports],
      virtualIps: [...endpoint.virtualIps, ...virtualIps.filter((v) => !isKept(v))],
    };
    this.putService({ ...service, endpoint: both });
  }

  putTask(object: Task): void {
    this.addresses.put({ kind: 'task', object });
    this.#list(object);
  }
  deleteTask(id: string): void {
    this.addresses.delete(id);
    this.#waiting.delete(id);
  }

  putAttachment(object: Attachment): void {
    this.addresses.put({ kind: 'attachment', object });
  }
  deleteAttachment(id: string): void {
    this.addresses.delete(id);
  }

  #count(service: Service): void {
    this.ports.release(service.id);
    for (const port of service.endpoint.ports) this.ports.claim(service, port);
    this.#services.set(service.id, service);
  }

  #list(task: Task): void {
    const waits = task.status.state === TaskState.NEW && isWanted(task.desiredState);
    if (waits) this.#waiting.set(task.id, task);
    else this.#waiting.delete(task.id);
  }
}
