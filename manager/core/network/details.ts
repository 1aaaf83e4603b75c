import type { Network } from '../../../common/model/objects.js';
import { placeName } from '../../../common/model/task-place.js';
import { isTerminal } from '../../../common/model/task-state.js';
import { toWord } from '../../../common/model/words.js';
import { addressOf, parseCidr, poolUsage, subnetContains } from '../../../overlay-net/core/ipam.js';
import {
  NetworkUser,
  type NetworkDetails,
  type SubnetUsage,
} from '../../../proto/gen/hatoba/v1/control.js';
import { TaskState, type IPAMConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { configOf, overlayDefaultsOf } from '../assignments/network-items.js';
import type { Snapshot } from '../snapshot.js';

/** A network with how full it is and who is on it. */
export function networkDetails(snapshot: Snapshot, network: Network): NetworkDetails {
  const users = {
    services: servicesOn(snapshot, network),
    tasks: tasksOn(snapshot, network),
    containers: containersOn(snapshot, network),
  };
  const everyone = [...users.services, ...users.tasks, ...users.containers];
  const held = everyone.map(({ address }) => addressOf(address));
  const nodeIds = [...users.tasks, ...users.containers].map(({ nodeId }) => nodeId);
  const everywhere = network.spec.ingress ? [...snapshot.nodes()].map(({ id }) => id) : [];
  const having = new Set([...nodeIds, ...everywhere].filter((id) => id !== ''));
  return {
    network,
    subnets: network.ipam.map((ipam) => usageOf(ipam, held)),
    ...users,
    nodes: [...having].sort().map((nodeId) => ({ nodeId })),
    mtuBytes: configOf(network, overlayDefaultsOf(snapshot)).mtuBytes,
  };
}

/** Addresses of ended tasks count as free: they are given again once no other is left. */
function usageOf(ipam: IPAMConfig, held: readonly string[]): SubnetUsage {
  const subnet = parseCidr(ipam.subnet);
  const range = ipam.ipRange === '' ? subnet : parseCidr(ipam.ipRange);
  const own = held.filter((address) => subnetContains(subnet, address));
  const { free } = poolUsage(range, [...own, ipam.gateway]);
  return { subnet: ipam.subnet, used: new Set(own).size, free };
}

function servicesOn(snapshot: Snapshot, { id, spec }: Network): NetworkUser[] {
  return [...snapshot.services()]
    .filter(
      ({ spec: { taskTemplate }, endpoint }) =>
        taskTemplate.networks.some(({ target }) => target === id || target === spec.name) ||
        endpoint.virtualIps.some(({ networkId }) => networkId === id),
    )
    .map((service) => {
      const address = service.endpoint.virtualIps.find(({ networkId }) => networkId === id)?.addr;
      return NetworkUser.fromPartial({ id: service.id, name: service.spec.name, ...at(address) });
    })
    .sort(byName);
}

function tasksOn(snapshot: Snapshot, { id }: Network): NetworkUser[] {
  const users: NetworkUser[] = [];
  for (const task of snapshot.tasks()) {
    const { state } = task.status;
    // what became of an orphaned task's container is not known: it keeps its address
    if (isTerminal(state) && state !== TaskState.ORPHANED) continue;
    const attachment = task.networksAttachments.find(({ networkId }) => networkId === id);
    if (attachment === undefined) continue;
    users.push(
      NetworkUser.fromPartial({
        id: task.id,
        name: placeName(task),
        ...at(attachment.addresses[0]),
        nodeId: task.nodeId,
        state: toWord(state),
      }),
    );
  }
  return users.sort(byName);
}

function containersOn(snapshot: Snapshot, { id }: Network): NetworkUser[] {
  return [...snapshot.attachments()]
    .filter(({ networkId }) => networkId === id)
    .map(({ containerId, containerName, address, nodeId, active }) => ({
      id: containerId,
      name: containerName,
      address,
      nodeId,
      state: active ? 'active' : 'inactive',
    }))
    .sort(byName);
}

function at(address: string | undefined): { address?: string } {
  return address === undefined ? {} : { address };
}

function byName(a: NetworkUser, b: NetworkUser): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1;
}
