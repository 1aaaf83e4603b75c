import { eventsOfNode, eventsOfRemovedNode } from '../core/events/node-events.js';
import type { Names, NewEvent } from '../core/events/new-event.js';
import {
  eventsOfNewRevision,
  eventsOfRemovedService,
  eventsOfService,
} from '../core/events/service-events.js';
import { eventsOfRemovedTask, eventsOfTask } from '../core/events/task-events.js';
import type { Snapshot } from '../core/snapshot.js';
import type { ViewChange } from '../view/view.js';

/** What one change of the view says, in words for people; most kinds say nothing. Pure. */
export function eventsOfChange(change: ViewChange, names: Names): NewEvent[] {
  const isGone = change.type === 'delete';
  switch (change.kind) {
    case 'task':
      return isGone
        ? eventsOfRemovedTask(change.object, names)
        : eventsOfTask(change.previous, change.object, names);
    case 'service':
      return isGone
        ? eventsOfRemovedService(change.object)
        : eventsOfService(change.previous, change.object);
    case 'revision':
      return isGone || change.previous !== undefined
        ? []
        : eventsOfNewRevision(change.object, names);
    case 'node':
      return isGone
        ? eventsOfRemovedNode(change.object)
        : eventsOfNode(change.previous, change.object);
    default:
      return [];
  }
}

/**
 * What has happened since `sinceMs`, as far as the objects still tell: for a manager that was away.
 * In order of time.
 */
export function eventsOfObjects(snapshot: Snapshot, sinceMs: number): NewEvent[] {
  const changed = <T extends { updatedAtMs: number }>(objects: Iterable<T>): T[] =>
    [...objects].filter((o) => o.updatedAtMs > sinceMs);
  return [
    ...changed(snapshot.nodes()).flatMap((node) => eventsOfNode(undefined, node)),
    ...changed(snapshot.services()).flatMap((service) => eventsOfService(undefined, service)),
    ...changed(snapshot.revisions()).flatMap((r) => eventsOfNewRevision(r, snapshot)),
    ...changed(snapshot.tasks()).flatMap((task) => eventsOfTask(undefined, task, snapshot)),
  ]
    .filter((event) => event.atMs > sinceMs)
    .sort((a, b) => a.atMs - b.atMs);
}
