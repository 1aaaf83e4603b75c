import { HatobaError } from '../../../common/errors.js';
import type { Network } from '../../../common/model/objects.js';
import type { NetworkSpec } from '../../../proto/gen/hatoba/v1/types.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import type { Plan, Snapshot } from '../snapshot.js';
import { networkWithDefaults, validateNetworkSpec } from '../validate/network-spec.js';
import type { Problem } from '../validate/problem.js';

/** What a call on one network comes to. With problems, the plan is empty. */
export interface NetworkPlan {
  plan: Plan;
  /** As it will be stored; the allocator gives it its subnet. */
  network: Network;
  problems: readonly Problem[];
}

export function planCreateNetwork(
  snapshot: Snapshot,
  spec: NetworkSpec,
  context: PlanContext,
): NetworkPlan {
  const full = networkWithDefaults(spec);
  const problems = validateNetworkSpec(full, snapshot);
  const network = newNetwork(full, context);
  if (problems.length > 0) return { plan: EMPTY_PLAN, network, problems };
  const groups = [[{ action: 'create', kind: 'network', object: network } as const]];
  return { plan: { groups }, network, problems };
}

/**
 * Marks the network; the reaper removes it once no task is attached any more.
 * @throws {HatobaError} not-found; failed-precondition while services ask for it
 */
export function planRemoveNetwork(snapshot: Snapshot, networkId: string): NetworkPlan {
  const network = snapshot.network(networkId);
  if (network === undefined) throw new HatobaError('not-found', `there is no network ${networkId}`);
  const users = [...snapshot.services()]
    .filter((s) => !s.pendingDelete)
    .filter((s) => s.spec.taskTemplate.networks.some((n) => n.target === networkId))
    .map((s) => s.spec.name);
  if (users.length > 0) {
    throw new HatobaError(
      'failed-precondition',
      `network ${network.spec.name} is used by service ${users.join(', ')}: remove or update that first`,
    );
  }
  const object = { ...network, pendingDelete: true };
  if (network.pendingDelete) return { plan: EMPTY_PLAN, network, problems: [] };
  const groups = [[{ action: 'update', kind: 'network', object } as const]];
  return { plan: { groups }, network: object, problems: [] };
}

/** A network that the allocator still has to give a subnet. */
export function newNetwork(spec: NetworkSpec, { nowMs, newId }: PlanContext): Network {
  const times = { createdAtMs: nowMs, updatedAtMs: nowMs };
  return { id: newId(), version: 0, ...times, spec, ipam: undefined, vni: 0, pendingDelete: false };
}
