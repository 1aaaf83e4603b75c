import type { EngineEvent as EventMessage } from '../../proto/gen/hatoba/v1/engine.js';
import { eventsOf } from './engine-events.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

/** What is told of the engine as a whole. */
export function systemMethods({
  engine,
  clock,
}: EngineMethodsModules): EngineMethods<'diskUsage' | 'events'> {
  const { system } = engine;
  return {
    diskUsage: () => system.diskUsage(),
    async *events(range, { signal }): AsyncGenerator<EventMessage, void, undefined> {
      for await (const event of eventsOf(system, range, clock, signal)) {
        yield { ...event, attributes: { ...event.attributes } };
      }
    },
  };
}
