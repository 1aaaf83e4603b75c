import type { Node, Service, Task } from '../../../common/model/objects.js';
import { type Event, EventType } from '../../../proto/gen/hatoba/v1/types.js';
import { nodeLabel } from '../node-label.js';
import type { Snapshot } from '../snapshot.js';

/** One thing that happened, before equal ones are counted. */
export type NewEvent = Omit<Event, 'count' | 'firstAtMs' | 'lastAtMs'> & {
  /** By what the object itself says; a node's clock may be in it. */
  atMs: number;
};

/** What a change says, in the words of one kind of object. */
export interface Happening {
  /** One word: "Created". */
  reason: string;
  message: string;
  atMs: number;
  isWarning?: boolean;
}

/** How events find the names of other objects than the one they are of. */
export type Names = Pick<Snapshot, 'node' | 'service' | 'revisionsOfService'>;

export function taskEvent(task: Task, names: Names, what: Happening): NewEvent {
  const { id: objectId, serviceId, serviceName, slot, nodeId } = task;
  const place = slot === 0 ? labelOf(nodeId, names) : String(slot);
  const objectName = `${serviceName}.${place}`;
  return { kind: 'task', objectId, objectName, serviceId, nodeId, ...said(what) };
}

export function serviceEvent(service: Pick<Service, 'id' | 'spec'>, what: Happening): NewEvent {
  const objectName = service.spec.name;
  const none = { serviceId: '', nodeId: '' };
  return { kind: 'service', objectId: service.id, objectName, ...none, ...said(what) };
}

export function nodeEvent(node: Node, what: Happening): NewEvent {
  const none = { serviceId: '', nodeId: '' };
  return { kind: 'node', objectId: node.id, objectName: nodeLabel(node), ...none, ...said(what) };
}

export function labelOf(nodeId: string, names: Names): string {
  const node = names.node(nodeId);
  return node === undefined ? nodeId : nodeLabel(node);
}

function said({ reason, message, atMs, isWarning = false }: Happening): {
  type: EventType;
  reason: string;
  message: string;
  atMs: number;
} {
  return { type: isWarning ? EventType.WARNING : EventType.NORMAL, reason, message, atMs };
}
