import { HatobaError, isKind } from '../../../common/errors.js';
import type { Node } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import { NodeRole, NodeState } from '../../../proto/gen/hatoba/v1/types.js';
import { equalData } from '../../core/equal.js';
import { withTaintTimes } from '../../core/node-taints.js';
import { nodeSpecProblems } from '../../core/validate/node-spec.js';
import { nodeLabel } from '../agents.js';
import { NODE_CERTIFICATE_LIFE_MS } from '../../security/ca.js';
import { nodeRemoval } from '../node-registry.js';
import { catchUp, writePlan } from '../write-plan.js';
import {
  checkVersion,
  present,
  refuseProblems,
  type ControlMethods,
  type ControlModules,
} from './methods.js';

export function nodeMethods(
  modules: ControlModules,
): ControlMethods<'listNodes' | 'getNode' | 'updateNode' | 'removeNode'> {
  const { cluster } = modules;
  const { view } = cluster;
  const shown = (node: Node): Node =>
    node.managerStatus === undefined
      ? node
      : {
          ...node,
          managerStatus: { ...node.managerStatus, leader: node.id === view.leaderNodeId() },
        };
  return {
    listNodes: () =>
      Promise.resolve({ nodes: [...view.nodes()].sort((a, b) => a.index - b.index).map(shown) }),

    getNode: (request) => Promise.resolve(shown(view.findByPrefix('node', request.node))),

    updateNode: async (request, { signal }) => {
      const { id } = view.findByPrefix('node', request.node);
      const spec = present(request.spec, 'spec');
      await writePlan(
        cluster,
        () => {
          const node = view.findByPrefix('node', id);
          checkVersion(`node ${nodeLabel(node)}`, node.version, request.version);
          refuseProblems(nodeSpecProblems(node, spec, view.nodes()));
          const dated = withTaintTimes(node.spec, spec, cluster.clock.nowMs());
          if (equalData(dated, node.spec)) return undefined;
          const object = { ...node, spec: dated };
          return { groups: [[{ action: 'update', kind: 'node', object }]] };
        },
        signal,
      );
      return shown(view.findByPrefix('node', id));
    },

    removeNode: async (request, { signal }) => {
      const target = view.findByPrefix('node', request.node);
      checkRemoval(modules, target, request.force);
      // Its certificate outlives it, so what refuses it has to as well, and no longer.
      const lease = await cluster.store.grantLease(NODE_CERTIFICATE_LIFE_MS);
      for (;;) {
        const node = view.node(target.id);
        if (node === undefined) return {};
        checkRemoval(modules, node, request.force);
        const seen = view.revision;
        try {
          const revision = await cluster.store.commit(nodeRemoval(node, lease.id));
          await view.waitFor(revision, signal);
        } catch (error) {
          if (!isKind(error, 'conflict')) throw error;
          await catchUp(cluster, seen, signal);
        }
      }
    },
  };
}

/** @throws {HatobaError} failed-precondition */
function checkRemoval(modules: ControlModules, node: Node, force: boolean): void {
  const label = nodeLabel(node);
  if (node.id === modules.own.nodeId) {
    throw new HatobaError('failed-precondition', `node ${label} runs the manager that answers you`);
  }
  if (node.spec.role === NodeRole.MANAGER && node.status.state === NodeState.READY) {
    throw new HatobaError(
      'failed-precondition',
      `node ${label} is a running manager; stop it first`,
    );
  }
  const { state } = node.status;
  const mayRunContainers = state === NodeState.READY || state === NodeState.DISCONNECTED;
  if (mayRunContainers && !force) {
    throw new HatobaError(
      'failed-precondition',
      `node ${label} is ${toWord(state)}, so its containers run: switch it off first, ` +
        'or remove it with --force and end them there',
    );
  }
}
