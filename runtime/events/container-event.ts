import type { ContainerRecord } from '../container/record.js';
import type { NewEvent } from './event-bus.js';

/** An event of a container, with the attributes that Docker gives to each of them. */
export function containerEvent(
  { config }: Pick<ContainerRecord, 'config'>,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): NewEvent {
  return {
    type: 'container',
    action,
    id: config.id,
    attributes: { ...config.labels, image: config.spec.image, name: config.name, ...attributes },
  };
}
