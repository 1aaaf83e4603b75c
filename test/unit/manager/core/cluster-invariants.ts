import assert from 'node:assert/strict';
import { isTerminal } from '../../../../common/model/task-state.js';
import { isLive } from '../../../../manager/core/orchestrator/slots.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import type { ModelCluster } from '../../../support/model-cluster.js';

/** What holds in every state a cluster can get into. */
export function checkInvariants(cluster: ModelCluster): void {
  checkAddresses(cluster);
  checkResources(cluster);
  checkSlots(cluster);
}

function checkAddresses(cluster: ModelCluster): void {
  const { view } = cluster;
  const holders = new Map<string, string>();
  const claim = (networkId: string, cidr: string, holder: string): void => {
    const key = `${networkId} ${cidr}`;
    assert.equal(holders.get(key) ?? holder, holder, `${key} was given twice\n${cluster.show()}`);
    holders.set(key, holder);
  };
  for (const network of view.networks()) {
    for (const { subnet, gateway } of network.ipam) {
      claim(network.id, `${gateway}/${subnet.split('/')[1] ?? ''}`, 'gateway');
    }
  }
  for (const service of view.services()) {
    for (const vip of service.endpoint.virtualIps) claim(vip.networkId, vip.addr, service.id);
  }
  for (const { id, networkId, address } of view.attachments()) {
    if (address !== '') claim(networkId, address, id);
  }
  for (const task of view.tasks()) {
    if (isTerminal(task.status.state)) continue;
    for (const { networkId, addresses } of task.networksAttachments) {
      for (const address of addresses) claim(networkId, address, task.id);
    }
  }
}

function checkResources({ view }: ModelCluster): void {
  for (const node of view.nodes()) {
    const held = view.tasksOfNode(node.id).filter((t) => !isTerminal(t.status.state));
    for (const resource of ['nanoCpus', 'memoryBytes', 'pids'] as const) {
      const sum = held.reduce((s, t) => s + t.spec.resources.reservations[resource], 0);
      if (sum === 0) continue;
      assert.ok(sum <= node.description.resources[resource], `${node.id} is over its ${resource}`);
    }
    const ports = held.flatMap((t) => t.hostPorts.map((p) => `${p.publishedPort}/${p.protocol}`));
    assert.equal(new Set(ports).size, ports.length, `${node.id} has a host port twice`);
  }
}

/** One task to a slot; two while an update starts the new one first, and never two of one spec. */
function checkSlots(cluster: ModelCluster): void {
  for (const service of cluster.view.services()) {
    const live = new Map<number, number[]>();
    for (const task of cluster.view.tasksOfService(service.id)) {
      if (!isLive(task) || task.desiredState === TaskState.REMOVE) continue;
      live.set(task.slot, [...(live.get(task.slot) ?? []), task.specVersion]);
    }
    for (const [slot, versions] of live) {
      assert.ok(
        versions.length === 1 || (versions.length === 2 && versions[0] !== versions[1]),
        `slot ${slot} of ${service.spec.name} has tasks of specs ${versions.join(', ')}\n${cluster.show()}`,
      );
    }
  }
}
