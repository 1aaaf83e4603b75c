import type { ListEventsRequest } from '../../proto/gen/hatoba/v1/control.js';
import type { Event } from '../../proto/gen/hatoba/v1/types.js';

/**
 * Whether an event is asked for. An object is named by its name, id or the beginning of its id, a
 * task also by the name of its place ("web.1") and by its service; it may be gone.
 * @param isName whether anything is called so: then it is not taken for the beginning of an id
 */
export function eventFilter(
  { kind, object }: Pick<ListEventsRequest, 'kind' | 'object'>,
  isName: boolean,
): (event: Event) => boolean {
  const isObject = (event: Event): boolean => {
    if (object === '' || event.objectId === object || isNamed(event, object)) return true;
    const isPart = event.objectId.startsWith(object) || event.serviceId.startsWith(object);
    return isPart && !isName;
  };
  return (event) => (kind === '' || event.kind === kind) && isObject(event);
}

/** Names of services have no dot, so what is before the first one in a task's is its service. */
export function isNamed({ kind, objectName }: Event, name: string): boolean {
  return objectName === name || (kind === 'task' && objectName.split('.', 1)[0] === name);
}
