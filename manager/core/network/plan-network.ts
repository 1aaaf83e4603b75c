import { HatobaError } from '../../../common/errors.js';
import type { Network } from '../../../common/model/objects.js';
import type { NetworkSpec } from '../../../proto/gen/hatoba/v1/types.js';
import { grantGuard, NetworkGrants } from '../allocator/network-grants.js';
import { EMPTY_PLAN, type PlanContext } from '../plan-context.js';
import type { Plan, Snapshot } from '../snapshot.js';
import type { Problem } from '../validate/problem.js';
import { validateNetworkSpec } from '../validate/network-spec.js';
import { usersOf } from './users.js';

/** A network as it would be created, with its subnets, and what keeps it from that. */
export interface NewNetwork {
  network: Network;
  problems: readonly Problem[];
}

/**
 * A new network, complete from its first moment on: overlaps and exhaustion are errors of the call.
 * Write it together with grantGuard().
 * @param grants of what is created in the same step
 */
export function planNetwork(
  snapshot: Snapshot,
  spec: NetworkSpec,
  { nowMs, newId }: PlanContext,
  grants = new NetworkGrants(snapshot),
): NewNetwork {
  const times = { createdAtMs: nowMs, updatedAtMs: nowMs };
  const bare = { id: newId(), version: 0, ...times, spec, ipam: [], vni: 0, pendingDelete: false };
  const problems = validateNetworkSpec(spec, snapshot);
  if (problems.length > 0) return { network: bare, problems };
  const granted = grants.grant(bare);
  if ('problems' in granted) return { network: bare, problems: granted.problems };
  return { network: granted.network, problems: [] };
}

/** With problems, the plan is empty. */
export function planCreateNetwork(
  snapshot: Snapshot,
  spec: NetworkSpec,
  context: PlanContext,
): { plan: Plan; problems: readonly Problem[] } {
  const { network, problems } = planNetwork(snapshot, spec, context);
  if (problems.length > 0) return { plan: EMPTY_PLAN, problems };
  const creation = { action: 'create', kind: 'network', object: network } as const;
  return { plan: { groups: [[creation, ...grantGuard(snapshot)]] }, problems };
}

/**
 * Marks a network that nobody uses; the reaper removes it.
 * @throws {HatobaError} not-found; failed-precondition naming who uses it
 */
export function planRemoveNetwork(snapshot: Snapshot, networkId: string): Plan {
  const network = snapshot.network(networkId);
  if (network === undefined) throw new HatobaError('not-found', `there is no network ${networkId}`);
  if (network.pendingDelete) return EMPTY_PLAN;
  const { name, ingress, driver } = network.spec;
  const refuse = (why: string): never => {
    throw new HatobaError('failed-precondition', `network ${name} ${why}`);
  };
  if (ingress) refuse('carries the published ports: it stays');
  if (driver === 'host' || driver === 'none') refuse('is one that every cluster has: it stays');
  const users = usersOf(snapshot, network);
  if (users.length > 0) refuse(`is in use by ${users.join(', ')}: remove them first`);
  return {
    groups: [[{ action: 'update', kind: 'network', object: { ...network, pendingDelete: true } }]],
  };
}
