import assert from 'node:assert/strict';
import type { Node, Service, ServiceSpec, Task } from '../../../../common/model/objects.js';
import { planUpdateService } from '../../../../manager/core/service/plan-service-update.js';
import { withDefaults } from '../../../../manager/core/validate/service-spec.js';
import { NodeAvailability, type UpdateState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, type Some } from '../../../support/builders.js';
import { ModelCluster } from '../../../support/model-cluster.js';
import { checkInvariants } from './cluster-invariants.js';

/** Three nodes: n1 and n2 in zone a, n3 in zone b. */
export function clusterWith(some: Some<Service['spec']>, seed = 1): ModelCluster {
  const cluster = new ModelCluster({ nodes: 0, seed });
  for (const [id, zone] of Object.entries({ n1: 'a', n2: 'a', n3: 'b' })) {
    cluster.addNode(aNode({ id, spec: { labels: { zone } } }));
  }
  const service = aService({ spec: some });
  cluster.put('service', { ...service, spec: withDefaults(service.spec) });
  cluster.onWrite = () => {
    checkInvariants(cluster);
  };
  cluster.settle();
  return cluster;
}

export function replicated(replicas: number): Some<Service['spec']> {
  return { mode: { $case: 'replicated', value: { replicas } } };
}

export function change(cluster: ModelCluster, edit: (spec: ServiceSpec) => ServiceSpec): void {
  const { id, spec } = cluster.service();
  const request = { serviceId: id, version: 0, spec: edit(spec) };
  const { plan, problems } = planUpdateService(cluster.view, request, cluster.context);
  assert.deepEqual(problems, []);
  cluster.apply(plan);
}

export function setImage(cluster: ModelCluster, image: string): void {
  change(cluster, (spec) => {
    const containerSpec = { ...spec.taskTemplate.containerSpec, image };
    return { ...spec, taskTemplate: { ...spec.taskTemplate, containerSpec } };
  });
}

export function constrain(cluster: ModelCluster, ...constraints: string[]): void {
  change(cluster, (spec) => {
    const placement = { ...spec.taskTemplate.placement, constraints };
    return { ...spec, taskTemplate: { ...spec.taskTemplate, placement } };
  });
}

export function updateState(cluster: ModelCluster): UpdateState | undefined {
  return cluster.service().updateStatus?.state;
}

export function untilUpdate(cluster: ModelCluster, state: UpdateState): void {
  cluster.runUntil(() => updateState(cluster) === state, `the update is ${state}`);
}

export function nodesOf(tasks: readonly Task[]): string[] {
  return [...new Set(tasks.map((t) => t.nodeId))].sort();
}

export function editNode(cluster: ModelCluster, id: string, spec: Partial<Node['spec']>): void {
  const node = cluster.view.findByPrefix('node', id);
  cluster.put('node', { ...node, spec: { ...node.spec, ...spec } });
}

export function drain(cluster: ModelCluster, id: string): void {
  editNode(cluster, id, { availability: NodeAvailability.DRAIN });
}

export function activate(cluster: ModelCluster, id: string): void {
  editNode(cluster, id, { availability: NodeAvailability.ACTIVE, taints: [] });
}

/** Tasks that serve: they run, are meant to, and can be reached. */
export function serving(cluster: ModelCluster): Task[] {
  return cluster.running().filter((t) => cluster.isUp(t.nodeId));
}
