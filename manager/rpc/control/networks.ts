import { HatobaError } from '../../../common/errors.js';
import { newId } from '../../../common/model/ids.js';
import type { Network } from '../../../common/model/objects.js';
import { networkDetails } from '../../core/network-details.js';
import type { Snapshot } from '../../core/snapshot.js';
import { newNetwork } from '../../core/stack/plan-stack.js';
import { networkWithDefaults, validateNetworkSpec } from '../../core/validate/network-spec.js';
import { writePlan } from '../write-plan.js';
import { present, refuseProblems, type ControlMethods, type ControlModules } from './methods.js';

export function networkMethods(
  modules: ControlModules,
): ControlMethods<
  'createNetwork' | 'listNetworks' | 'getNetwork' | 'inspectNetwork' | 'removeNetwork'
> {
  const { cluster, random } = modules;
  const { view } = cluster;
  return {
    createNetwork: async (request, { signal }) => {
      const spec = networkWithDefaults(present(request.spec, 'spec'));
      const id = newId(random);
      await writePlan(
        cluster,
        () => {
          // A retry after an answer that was lost finds its own network.
          if (view.network(id) !== undefined) return undefined;
          refuseProblems(validateNetworkSpec(spec, view));
          const object = newNetwork(spec, { nowMs: cluster.clock.nowMs(), newId: () => id });
          return { groups: [[{ action: 'create', kind: 'network', object }]] };
        },
        signal,
      );
      return view.findByPrefix('network', id);
    },

    listNetworks: () =>
      Promise.resolve({
        networks: [...view.networks()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1)),
      }),

    getNetwork: (request) => Promise.resolve(view.findByPrefix('network', request.network)),

    inspectNetwork: (request) =>
      Promise.resolve(networkDetails(view, view.findByPrefix('network', request.network))),

    removeNetwork: async (request, { signal }) => {
      const { id } = view.findByPrefix('network', request.network);
      await writePlan(
        cluster,
        () => {
          const network = view.network(id);
          if (network === undefined || network.pendingDelete) return undefined;
          checkUnused(view, network);
          const object = { ...network, pendingDelete: true };
          return { groups: [[{ action: 'update', kind: 'network', object }]] };
        },
        signal,
      );
      return {};
    },
  };
}

/** @throws {HatobaError} failed-precondition naming what uses the network */
function checkUnused(snapshot: Snapshot, network: Network): void {
  const { name, ingress } = network.spec;
  if (ingress) {
    throw new HatobaError('failed-precondition', `${name} carries the published ports; it stays`);
  }
  const users = [...snapshot.services()]
    .filter((s) => !s.pendingDelete)
    .filter((s) =>
      s.spec.taskTemplate.networks.some((n) => n.target === network.id || n.target === name),
    )
    .map((s) => s.spec.name);
  if (users.length === 0) return;
  throw new HatobaError(
    'failed-precondition',
    `network ${name} is used by ${users.length === 1 ? 'service' : 'services'} ${users.join(', ')}`,
  );
}
