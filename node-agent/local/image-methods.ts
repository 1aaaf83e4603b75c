import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { notYet } from './not-yet.js';

export function imageMethods(
  modules: EngineMethodsModules,
): EngineMethods<
  | 'imagePull'
  | 'imageDownload'
  | 'imagePush'
  | 'imageList'
  | 'imageInspect'
  | 'imageHistory'
  | 'imageTag'
  | 'imageRemove'
  | 'imageSave'
  | 'imageLoad'
  | 'imageImport'
  | 'imagePrune'
  | 'registryLogin'
> {
  void modules;
  return {
    imagePull: () => notYet('imagePull'),
    imageDownload: () => notYet('imageDownload'),
    imagePush: () => notYet('imagePush'),
    imageList: () => notYet('imageList'),
    imageInspect: () => notYet('imageInspect'),
    imageHistory: () => notYet('imageHistory'),
    imageTag: () => notYet('imageTag'),
    imageRemove: () => notYet('imageRemove'),
    imageSave: () => notYet('imageSave'),
    imageLoad: () => notYet('imageLoad'),
    imageImport: () => notYet('imageImport'),
    imagePrune: () => notYet('imagePrune'),
    registryLogin: () => notYet('registryLogin'),
  };
}
