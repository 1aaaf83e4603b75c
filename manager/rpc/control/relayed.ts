import type { AgentConnections } from '../agents.js';
import { relayExec } from '../relay-exec.js';
import { ImageRelay } from '../relay-images.js';
import { LogRelay } from '../relay-logs.js';
import type { ControlMethods, ControlModules } from './methods.js';

/** What passes through to the agents of the nodes concerned. */
export function relayedMethods(
  modules: ControlModules & { agents: AgentConnections },
): ControlMethods<'serviceLogs' | 'taskExec' | 'imageLoad' | 'imagePull' | 'imageList'> {
  const relays = { view: modules.cluster.view, agents: modules.agents };
  const logs = new LogRelay(relays);
  const images = new ImageRelay(relays);
  return {
    serviceLogs: (request, { signal }) => logs.messages(request, signal),
    taskExec: (input, { signal }) => relayExec(relays, input, signal),
    imageLoad: (input, { signal }) => images.load(input, signal),
    imagePull: (request, { signal }) => images.pull(request, signal),
    imageList: (_, { signal }) => images.list(signal),
  };
}
