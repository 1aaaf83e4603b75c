import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function systemMethods(
  modules: EngineMethodsModules,
): EngineMethods<'diskUsage' | 'events'> {
  void modules;
  return {
    diskUsage: () => notYet('diskUsage'),
    events: () => notYet('events'),
  };
}
