import type { Clock } from '../../common/clock.js';
import type { Task } from '../../common/model/objects.js';
import type { NetworkConfig } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { EngineService } from '../../proto/gen/hatoba/v1/engine.js';
import type { Implementation } from '../../proto/wire/service.js';
import type { Engine } from '../../runtime/engine.js';
import type { LocalContainers } from './local-containers.js';

/** Some of the methods of the Engine service. */
export type EngineMethods<Name extends keyof typeof EngineService> = Pick<
  Implementation<typeof EngineService>,
  Name
>;

/** What the groups of methods work with. */
export interface EngineMethodsModules {
  readonly engine: Engine;
  /** Changes go through it, as it joins containers to their network and keeps tasks' out of it. */
  readonly local: LocalContainers;
  /** The network of this node alone. */
  readonly bridge: { readonly network: NetworkConfig };
  readonly tasks: { task(id: string): Task | undefined };
  readonly clock: Clock;
}
