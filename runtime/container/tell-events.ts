import type { ContainerEvent, HealthStatus } from '../engine.js';
import { containerEvent } from '../events/container-event.js';
import type { EventSink } from '../events/event-bus.js';
import type { ContainerRegistry } from './registry.js';

/** Docker's word for each; exits are told where their exit code is learnt. */
const ACTIONS: Readonly<Partial<Record<ContainerEvent['type'], string>>> = {
  created: 'create',
  started: 'start',
  paused: 'pause',
  unpaused: 'unpause',
  renamed: 'rename',
  updated: 'update',
  removed: 'destroy',
};

/** Tells the engine's events of what the registry tells. @returns a function that ends it */
export function tellEvents(registry: ContainerRegistry, events: EventSink): () => void {
  const health = new Map<string, HealthStatus>();
  return registry.onEvent(({ id, type, state }) => {
    const action = ACTIONS[type];
    if (action !== undefined) events.emit(containerEvent(state, action));
    if (type === 'health' && health.get(id) !== state.health) {
      events.emit(containerEvent(state, `health_status: ${state.health}`));
      health.set(id, state.health);
    }
    if (type === 'started' || type === 'removed') health.delete(id);
  });
}
