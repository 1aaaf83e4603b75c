import { placesOf } from '../../../deploy/dev/layout.js';
import type { Network, Node, Service, Task } from '../../../common/model/objects.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { ControlClient, type NetworkUser } from '../../../proto/gen/hatoba/v1/control.js';
import { checkNetwork, checkNode, checkService, checkTask } from '../../../proto/wire/check.js';
import { localTarget, openClient, unary } from '../../../proto/wire/client.js';

/** All of the store that networks follow from. */
export interface ClusterObjects {
  nodes: readonly Node[];
  services: readonly Service[];
  /** Those that have not ended. */
  tasks: readonly Task[];
  networks: readonly Network[];
  /** Containers of single nodes, by network id. */
  containers: ReadonlyMap<string, readonly NetworkUser[]>;
}

/** The control API of the dev cluster's first manager, by its socket. */
export function openControl(): ControlClient {
  return openClient(ControlClient, localTarget(`${placesOf({ name: 'n1' }).runDir}/manager.sock`));
}

/** What the store holds now, list by list. */
export async function readObjects(control: ControlClient): Promise<ClusterObjects> {
  const { nodes } = await unary(control.listNodes.bind(control), {});
  const { services } = await unary(control.listServices.bind(control), { stack: '' });
  const all = { service: '', stack: '', node: '', history: true };
  const { tasks } = await unary(control.listTasks.bind(control), all);
  const { networks } = await unary(control.listNetworks.bind(control), {});
  const containers = new Map<string, NetworkUser[]>();
  for (const { id } of networks) {
    const details = await unary(control.inspectNetwork.bind(control), { network: id });
    containers.set(id, details.containers);
  }
  return {
    nodes: nodes.map(checkNode),
    services: services.map(checkService),
    tasks: tasks.map(checkTask).filter((t) => !isTerminal(t.status.state)),
    networks: networks.map(checkNetwork),
    containers,
  };
}
