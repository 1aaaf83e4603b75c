import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function fileMethods(
  modules: EngineMethodsModules,
): EngineMethods<'containerCopyFrom' | 'containerCopyTo' | 'containerExport' | 'containerDiff'> {
  void modules;
  return {
    containerCopyFrom: () => notYet('containerCopyFrom'),
    containerCopyTo: () => notYet('containerCopyTo'),
    containerExport: () => notYet('containerExport'),
    containerDiff: () => notYet('containerDiff'),
  };
}
