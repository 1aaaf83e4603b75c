import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function streamMethods(
  modules: EngineMethodsModules,
): EngineMethods<'containerAttach' | 'containerExec'> {
  void modules;
  return {
    containerAttach: () => notYet('containerAttach'),
    containerExec: () => notYet('containerExec'),
  };
}
