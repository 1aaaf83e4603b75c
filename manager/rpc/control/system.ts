import { HatobaError } from '../../../common/errors.js';
import { HATOBA_VERSION } from '../../../common/version.js';
import type { Cluster } from '../../../common/model/objects.js';
import { NodeRole, NodeState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { rotateJoinToken } from '../../security/join-token.js';
import { writePlan } from '../write-plan.js';
import type { ControlMethods, ControlModules } from './methods.js';

export function systemMethods(
  modules: ControlModules,
): ControlMethods<'getSystemInfo' | 'getJoinTokens' | 'rotateJoinToken'> {
  const { cluster, own } = modules;
  const { view } = cluster;
  return {
    getSystemInfo: () => {
      const present = clusterOf(modules);
      const nodes = [...view.nodes()];
      const tasks = [...view.tasks()];
      return Promise.resolve({
        version: HATOBA_VERSION,
        clusterId: present.id,
        nodeId: own.nodeId,
        leaderNodeId: view.leaderNodeId() ?? '',
        nodes: nodes.length,
        readyNodes: nodes.filter((n) => n.status.state === NodeState.READY).length,
        managers: nodes.filter((n) => n.spec.role === NodeRole.MANAGER).length,
        services: [...view.services()].length,
        tasks: tasks.length,
        runningTasks: tasks.filter((t) => t.status.state === TaskState.RUNNING).length,
        storeRevision: view.revision,
        clusterSpec: present.spec,
        createdAtMs: present.createdAtMs,
      });
    },
    getJoinTokens: () => Promise.resolve(clusterOf(modules).joinTokens),
    rotateJoinToken: async ({ role }, { signal }) => {
      await writePlan(
        cluster,
        () => {
          const object = rotateJoinToken(clusterOf(modules), role, modules.random);
          return { groups: [[{ action: 'update', kind: 'cluster', object }]] };
        },
        signal,
      );
      return clusterOf(modules).joinTokens;
    },
  };
}

/** @throws {HatobaError} unavailable before the first start is complete */
function clusterOf(modules: ControlModules): Cluster {
  const present = modules.cluster.view.cluster();
  if (present === undefined) {
    throw new HatobaError('unavailable', 'the cluster is still being created; try again');
  }
  return present;
}
