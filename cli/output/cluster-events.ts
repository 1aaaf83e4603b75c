import { toWord } from '../../common/model/words.js';
import type { Event } from '../../proto/gen/hatoba/v1/types.js';

/** The JSON form of an event of the cluster. Its fields are fixed; scripts count on them. */
export function clusterEventRow(event: Event) {
  return {
    time: timeOf(event.lastAtMs),
    scope: 'cluster',
    kind: event.kind,
    type: toWord(event.type),
    reason: event.reason,
    message: event.message,
    count: event.count,
    firstTime: timeOf(event.firstAtMs),
    id: event.objectId,
    name: event.objectName,
    serviceId: event.serviceId,
    nodeId: event.nodeId,
  };
}

/** With the fields that docker's templates have, as for events of its own services and nodes. */
export function dockerClusterEvent(event: Event): object {
  const row = clusterEventRow(event);
  const { kind: Type, reason: Action, id: ID, name, message } = row;
  const Attributes = { name, message, count: String(event.count) };
  const Time = Math.floor(event.lastAtMs / 1000);
  return { ...row, Type, Action, ID, Actor: { ID, Attributes }, Time };
}

/** "2026-11-22T10:00:00.000Z task web.1 Failed: exit code 1 (warning, 3 times)". */
export function clusterEventLine(event: Event): string {
  const { time, kind, name, reason, message, type, count } = clusterEventRow(event);
  const marks = [
    ...(type === 'warning' ? ['warning'] : []),
    ...(count > 1 ? [`${count} times`] : []),
  ];
  const what = message === '' ? reason : `${reason}: ${message}`;
  return `${time} ${kind} ${name} ${what}${marks.length === 0 ? '' : ` (${marks.join(', ')})`}`;
}

/** Whether an event of the cluster is what a filter asks for. */
export function clusterEventHolds(event: Event, key: string, value: string): boolean {
  const { kind, objectId, objectName, serviceId, nodeId, reason } = event;
  const isNamed = (name: string, id: string): boolean => name === value || isPartOf(id, value);
  switch (key) {
    case 'type':
      return kind === value || toWord(event.type) === value;
    case 'event':
      return reason.toLowerCase() === value.toLowerCase();
    case 'service':
      if (kind === 'service') return isNamed(objectName, objectId);
      return kind === 'task' && isNamed(objectName.split('.', 1)[0] ?? '', serviceId);
    case 'node':
      return kind === 'node' ? isNamed(objectName, objectId) : isPartOf(nodeId, value);
    case 'task':
      return kind === 'task' && isNamed(objectName, objectId);
    default:
      return false;
  }
}

/** The beginning of an id, long enough not to be meant as a name. */
function isPartOf(id: string, value: string): boolean {
  return value.length >= 4 && id.startsWith(value);
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
