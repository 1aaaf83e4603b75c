import { newId } from '../../../common/model/ids.js';
import { networkDetails } from '../../core/network/details.js';
import { planCreateNetwork, planRemoveNetwork } from '../../core/network/plan-network.js';
import { networkWithDefaults } from '../../core/validate/network-spec.js';
import { writePlan } from '../write-plan.js';
import { present, type ControlMethods, type ControlModules } from './methods.js';
import { accepted } from './services.js';

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
          const context = { nowMs: cluster.clock.nowMs(), newId: () => id };
          return accepted(planCreateNetwork(view, spec, context));
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

    inspectNetwork: (request) => {
      const details = networkDetails(view, view.findByPrefix('network', request.network));
      const nodes = details.nodes.map(({ nodeId }) => {
        const appliedRevision = modules.networks.appliedNetworkRevision(nodeId);
        return { nodeId, ...(appliedRevision === undefined ? {} : { appliedRevision }) };
      });
      return Promise.resolve({ ...details, nodes });
    },

    removeNetwork: async (request, { signal }) => {
      const { id } = view.findByPrefix('network', request.network);
      await writePlan(
        cluster,
        () => (view.network(id) === undefined ? undefined : planRemoveNetwork(view, id)),
        signal,
      );
      return {};
    },
  };
}
