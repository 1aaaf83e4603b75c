import assert from 'node:assert/strict';
import type { Service, Task } from '../../../../common/model/objects.js';
import { placeOf } from '../../../../common/model/task-place.js';
import { isTerminal } from '../../../../common/model/task-state.js';
import { groupBy } from '../../../../manager/core/group-by.js';
import { isLive } from '../../../../manager/core/orchestrator/slots.js';
import { NodeAvailability, NodeState } from '../../../../proto/gen/hatoba/v1/types.js';
import { fitsPlacement } from '../../../../manager/core/scheduler/constraint.js';
import type { ModelCluster } from '../../../support/model-cluster.js';

/** So long a node that came back may leave it open what of its tasks is alive. */
const SETTLED_MS = 2000;

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

/**
 * One task to a place; two while one takes over from the other: the new one of an update that starts
 * it first, or of a task that has to leave its node.
 */
function checkSlots(cluster: ModelCluster): void {
  for (const service of cluster.view.services()) {
    const tasks = cluster.view.tasksOfService(service.id).filter(isLive);
    for (const [place, [older, newer, ...more]] of groupBy(tasks, placeOf)) {
      if (older === undefined || newer === undefined) continue;
      assert.ok(
        more.length === 0 &&
          (older.specVersion !== newer.specVersion || leaves(cluster, service, older, newer)),
        `place ${place} of ${service.spec.name} has too many tasks\n${cluster.show()}`,
      );
    }
  }
}

function leaves(
  { view, nowMs }: ModelCluster,
  { spec }: Service,
  older: Task,
  newer: Task,
): boolean {
  const node = view.node(older.nodeId);
  return (
    node === undefined ||
    newer.takesOver ||
    node.status.state === NodeState.DOWN ||
    node.status.stateChangedAtMs >= nowMs - SETTLED_MS ||
    node.spec.availability === NodeAvailability.DRAIN ||
    node.spec.taints.length > 0 ||
    [older.spec, spec.taskTemplate].some((s) => !fitsPlacement(node, s.placement))
  );
}
