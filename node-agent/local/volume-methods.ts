import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function volumeMethods(
  modules: EngineMethodsModules,
): EngineMethods<'volumeCreate' | 'volumeList' | 'volumeInspect' | 'volumeRemove' | 'volumePrune'> {
  void modules;
  return {
    volumeCreate: () => notYet('volumeCreate'),
    volumeList: () => notYet('volumeList'),
    volumeInspect: () => notYet('volumeInspect'),
    volumeRemove: () => notYet('volumeRemove'),
    volumePrune: () => notYet('volumePrune'),
  };
}
