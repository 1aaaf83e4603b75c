import type { EventLog } from '../../events/event-log.js';
import { readEvents } from '../../events/follow-events.js';
import type { ControlMethods, ControlModules } from './methods.js';

export function eventMethods({
  cluster: { view },
  events,
}: ControlModules & { events: EventLog }): ControlMethods<'listEvents'> {
  const isName = (text: string): boolean =>
    (['service', 'task', 'node'] as const).some((k) => view.findByName(k, text) !== undefined);
  return {
    listEvents: (request, { signal }) => readEvents(events, request, isName, signal),
  };
}
