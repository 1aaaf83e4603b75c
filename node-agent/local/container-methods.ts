import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function containerMethods(
  modules: EngineMethodsModules,
): EngineMethods<
  | 'containerCreate'
  | 'containerStart'
  | 'containerStop'
  | 'containerRestart'
  | 'containerKill'
  | 'containerPause'
  | 'containerUnpause'
  | 'containerRename'
  | 'containerUpdate'
  | 'containerRemove'
  | 'containerInspect'
  | 'containerList'
  | 'containerWait'
  | 'containerLogs'
  | 'containerPrune'
> {
  void modules;
  return {
    containerCreate: () => notYet('containerCreate'),
    containerStart: () => notYet('containerStart'),
    containerStop: () => notYet('containerStop'),
    containerRestart: () => notYet('containerRestart'),
    containerKill: () => notYet('containerKill'),
    containerPause: () => notYet('containerPause'),
    containerUnpause: () => notYet('containerUnpause'),
    containerRename: () => notYet('containerRename'),
    containerUpdate: () => notYet('containerUpdate'),
    containerRemove: () => notYet('containerRemove'),
    containerInspect: () => notYet('containerInspect'),
    containerList: () => notYet('containerList'),
    containerWait: () => notYet('containerWait'),
    containerLogs: () => notYet('containerLogs'),
    containerPrune: () => notYet('containerPrune'),
  };
}
