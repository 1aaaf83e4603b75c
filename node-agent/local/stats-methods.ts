import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function statsMethods(
  modules: EngineMethodsModules,
): EngineMethods<'containerTop' | 'containerStats'> {
  void modules;
  return {
    containerTop: () => notYet('containerTop'),
    containerStats: () => notYet('containerStats'),
  };
}
