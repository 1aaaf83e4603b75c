import { describeError } from '../../../common/errors.js';
import type { CallContext } from '../../../proto/wire/service.js';
import * as pb from '../../../proto/gen/hatoba/v1/types.js';
import type { Action } from '../scenario.js';
import type { SimCluster } from './cluster.js';
import type { SimManager } from './sim-manager.js';

const CONTEXT: CallContext = {
  caller: { kind: 'local' },
  signal: new AbortController().signal,
  peer: 'local',
};

type Control = NonNullable<SimManager['control']>;

/** A user asks any manager that answers. Refusals are for the user; nothing else must come of them. */
export async function ask(action: Action, cluster: SimCluster): Promise<void> {
  const managers = cluster.hosts.flatMap(({ manager }) =>
    manager?.manager.control === undefined || manager.process.isPaused ? [] : [manager.manager],
  );
  const chosen = managers[Math.floor(cluster.random.next() * managers.length)];
  const what = JSON.stringify(action);
  if (chosen?.control === undefined) return cluster.trace.add(`nobody answers: ${what}`);
  cluster.trace.add(`user asks ${chosen.nodeId}: ${what}`);
  try {
    await perform(action, chosen, chosen.control);
    cluster.trace.add(`user was answered: ${action.do}`);
  } catch (error) {
    cluster.trace.add(`user was refused: ${action.do}: ${describeError(error)}`);
  }
}

async function perform(action: Action, manager: SimManager, control: Control): Promise<unknown> {
  const { view } = manager;
  switch (action.do) {
    case 'create': {
      const spec = specOf({ name: action.service, ...action.spec });
      return control.createService({ spec }, CONTEXT);
    }
    case 'update': {
      const { spec, version } = view.findByPrefix('service', action.service);
      const changed = specOf({ ...spec, ...action.spec, name: spec.name });
      return control.updateService(updateOf(action.service, version, changed), CONTEXT);
    }
    case 'scale': {
      const { spec, version } = view.findByPrefix('service', action.service);
      const mode = { $case: 'replicated', value: { replicas: action.replicas } } as const;
      if (spec.mode.$case !== 'replicated') return;
      return control.updateService(
        updateOf(action.service, version, specOf({ ...spec, mode })),
        CONTEXT,
      );
    }
    case 'rollback':
      return control.updateService(
        { ...updateOf(action.service, 0, undefined), rollback: true },
        CONTEXT,
      );
    case 'pause':
      return control.pauseRollout({ service: action.service, version: 0 }, CONTEXT);
    case 'resume':
      return control.resumeRollout({ service: action.service, version: 0 }, CONTEXT);
    case 'restart':
      return control.restartService({ service: action.service, version: 0 }, CONTEXT);
    case 'remove':
      return control.removeService({ service: action.service }, CONTEXT);
    case 'deploy': {
      const spec = pb.StackSpec.fromPartial({ ...action.spec, name: action.stack });
      return control.deployStack({ spec, prune: true, planOnly: false }, CONTEXT);
    }
    case 'remove-stack':
      return control.removeStack({ stack: action.stack }, CONTEXT);
    default:
      return updateNode(action, manager, control);
  }
}

function updateNode(
  action: Extract<Action, { node: string }>,
  { view }: SimManager,
  control: Control,
): Promise<unknown> {
  const { spec, version } = view.findByPrefix('node', action.node);
  const changed = changedNode(action, spec);
  return control.updateNode({ node: action.node, version, spec: changed }, CONTEXT);
}

function changedNode(action: Extract<Action, { node: string }>, spec: pb.NodeSpec): pb.NodeSpec {
  switch (action.do) {
    case 'label':
      return { ...spec, labels: { ...spec.labels, [action.label]: action.value } };
    case 'taint': {
      const { effect } = action;
      const taints = effect === undefined ? [] : [{ key: 'special', value: '', effect }];
      return pb.NodeSpec.fromPartial({ ...spec, taints });
    }
    default:
      return { ...spec, availability: AVAILABILITY[action.do] };
  }
}

const AVAILABILITY = {
  drain: pb.NodeAvailability.DRAIN,
  activate: pb.NodeAvailability.ACTIVE,
  'pause-node': pb.NodeAvailability.PAUSE,
} as const;

function specOf(some: pb.DeepPartial<pb.ServiceSpec>): pb.ServiceSpec {
  return pb.ServiceSpec.fromPartial(some);
}

function updateOf(service: string, version: number, spec: pb.ServiceSpec | undefined) {
  return { service, version, spec, rollback: false };
}
