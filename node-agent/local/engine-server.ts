import { EngineService } from '../../proto/gen/hatoba/v1/engine.js';
import {
  bindService,
  type AccessRules,
  type BoundService,
  type Implementation,
} from '../../proto/wire/service.js';
import { containerMethods } from './container-methods.js';
import type { EngineMethodsModules } from './engine-methods.js';
import { fileMethods } from './file-methods.js';
import { imageMethods } from './image-methods.js';
import { networkMethods } from './network-methods.js';
import { statsMethods } from './stats-methods.js';
import { streamMethods } from './streams.js';
import { systemMethods } from './system-methods.js';
import { volumeMethods } from './volume-methods.js';

/**
 * What an agent answers to local users: the container engine of its node. It is served on the
 * agent's socket alone: whoever may call it is root on this machine.
 */
export function engineService(modules: EngineMethodsModules): BoundService {
  const implementation: Implementation<typeof EngineService> = {
    ...containerMethods(modules),
    ...streamMethods(modules),
    ...statsMethods(modules),
    ...fileMethods(modules),
    ...imageMethods(modules),
    ...volumeMethods(modules),
    ...networkMethods(modules),
    ...systemMethods(modules),
  };
  return bindService(EngineService, implementation, ACCESS);
}

const ACCESS = Object.fromEntries(
  Object.keys(EngineService).map((name) => [name, 'operator']),
) as unknown as AccessRules<typeof EngineService>; // every key of the service, as mapped above
