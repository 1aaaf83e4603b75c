import type { Kind, ObjectOfKind } from '../core/snapshot.js';

/** Everything of the cluster lives under this; the version is that of the layout. */
export const KEY_ROOT = '/hatoba/v1/';
/** The campaign key: its holder leads. Its value is the node id of the leader. */
export const LEADER_KEY = `${KEY_ROOT}leader/manager`;

export const CLUSTER_KEY = `${KEY_ROOT}cluster/default`;

const KINDS: ReadonlySet<string> = new Set<Kind>([
  'cluster',
  'service',
  'revision',
  'task',
  'node',
  'network',
  'stack',
  'attachment',
]);

/** What a key holds: an object, the id that has a name, or something the view does not read. */
export type KeyMeaning = { what: 'object'; kind: Kind } | { what: 'leader' } | { what: 'other' };

/**
 * The key of an object, for example "/hatoba/v1/service/0r5o6ti2zgqcg3wr1dsjz1vyf". A task's is
 * made of what it is for, "/hatoba/v1/task/<service>/00000003/00000001", with the node in place of
 * the slot for a global service, so that two writers cannot create the same task twice; a
 * revision's is "/hatoba/v1/revision/<service>/00000007" for the same reason; the cluster's is fixed.
 */
export function keyOf<K extends Kind>(kind: K, object: ObjectOfKind[K]): string {
  if (kind === 'cluster') return CLUSTER_KEY;
  if (kind === 'task') {
    const { serviceId, slot, nodeId, generation } = object as ObjectOfKind['task'];
    const place = slot === 0 ? nodeId : padded(slot);
    return `${KEY_ROOT}task/${serviceId}/${place}/${padded(generation)}`;
  }
  if (kind === 'revision') {
    const { serviceId, number } = object as ObjectOfKind['revision'];
    return `${KEY_ROOT}revision/${serviceId}/${padded(number)}`;
  }
  return `${KEY_ROOT}${kind}/${object.id}`;
}

function padded(value: number): string {
  return String(value).padStart(8, '0');
}

/** The key that makes a name unique within its kind; its value is the id. */
export function nameKey(kind: Kind, name: string): string {
  return `${KEY_ROOT}name/${kind}/${name}`;
}

/** Says that a node was removed, for as long as its certificate could still open a connection. */
export function removedNodeKey(nodeId: string): string {
  return `${KEY_ROOT}removed/node/${nodeId}`;
}

/**
 * The name an object holds alone within its kind, or undefined for kinds whose names may repeat
 * (nodes) or follow from the key (tasks, revisions, the cluster).
 */
export function uniqueNameOf<K extends Kind>(kind: K, object: ObjectOfKind[K]): string | undefined {
  switch (kind) {
    case 'service':
    case 'network':
    case 'stack':
      return (object as ObjectOfKind['service' | 'network' | 'stack']).spec.name;
    case 'attachment':
      return attachmentName(object as ObjectOfKind['attachment']);
    default:
      return undefined;
  }
}

/** One container has one address on a network; containers are told apart by their nodes, too. */
export function attachmentName(
  of: Pick<ObjectOfKind['attachment'], 'nodeId' | 'containerId' | 'networkId'>,
): string {
  return `${of.nodeId}/${of.containerId}/${of.networkId}`;
}

export function meaningOf(key: string): KeyMeaning {
  if (key === LEADER_KEY) return { what: 'leader' };
  const kind = key.slice(KEY_ROOT.length).split('/', 1)[0] ?? '';
  return isKind(kind) && key.startsWith(KEY_ROOT) ? { what: 'object', kind } : { what: 'other' };
}

function isKind(value: string): value is Kind {
  return KINDS.has(value);
}
