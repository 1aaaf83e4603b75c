import { ControlService } from '../../proto/gen/hatoba/v1/control.js';
import {
  bindService,
  type AccessRules,
  type BoundService,
  type Implementation,
} from '../../proto/wire/service.js';
import type { EventLog } from '../events/event-log.js';
import type { AgentConnections } from './agents.js';
import type { ControlModules } from './control/methods.js';
import { eventMethods } from './control/events.js';
import { networkMethods } from './control/networks.js';
import { nodeMethods } from './control/nodes.js';
import { relayedMethods } from './control/relayed.js';
import { rolloutMethods } from './control/rollouts.js';
import { serviceMethods } from './control/services.js';
import { stackMethods } from './control/stacks.js';
import { systemMethods } from './control/system.js';
import { taskMethods } from './control/tasks.js';

export type ControlServerModules = ControlModules & {
  readonly agents: AgentConnections;
  readonly events: EventLog;
};

/**
 * The API for users: who may use the local socket of a manager may do everything, as may other
 * managers. Reads come from the view; a write is answered once the view shows it.
 */
export function controlMethods(
  modules: ControlServerModules,
): Implementation<typeof ControlService> {
  return {
    ...systemMethods(modules),
    ...nodeMethods(modules),
    ...serviceMethods(modules),
    ...rolloutMethods(modules),
    ...taskMethods(modules),
    ...networkMethods(modules),
    ...stackMethods(modules),
    ...relayedMethods(modules),
    ...eventMethods(modules),
  };
}

export function controlService(modules: ControlServerModules): BoundService {
  const names = Object.keys(ControlService) as (keyof typeof ControlService)[];
  const access = Object.fromEntries(names.map((name) => [name, 'operator'])) as AccessRules<
    typeof ControlService
  >;
  return bindService(ControlService, controlMethods(modules), access);
}
