import type { Network } from '../../../common/model/objects.js';
import type { Change, Snapshot } from '../snapshot.js';
import { grantGuard, NetworkGrants } from './network-grants.js';

/** A transaction holds no more; the others have their turn when these are done. */
const MAX_AT_ONCE = 40;

interface NetworkPlan {
  /** Made together. */
  group: Change[];
  /** Network id → why it has no subnet. */
  problems: ReadonlyMap<string, string>;
}

/** Whether tasks and containers have addresses on a network. */
export function givesAddresses({ spec }: Network): boolean {
  return spec.driver === 'overlay' || spec.driver === 'bridge';
}

/**
 * Networks have their subnets from the moment they are created; the ingress network of a new
 * cluster, and those of older versions, get theirs here.
 */
export function planNetworks(snapshot: Snapshot): NetworkPlan {
  const changes: Change[] = [];
  const problems = new Map<string, string>();
  const lacking = withoutSubnet(snapshot);
  if (lacking.length === 0) return { group: changes, problems };
  const grants = new NetworkGrants(snapshot);
  for (const network of lacking) {
    const granted = grants.grant(network);
    if ('network' in granted) {
      changes.push({ action: 'update', kind: 'network', object: granted.network });
      continue;
    }
    const why = granted.problems.map((p) => p.message).join('; ');
    problems.set(network.id, `network ${network.spec.name} has no subnet: ${why}`);
  }
  const group = changes.slice(0, MAX_AT_ONCE);
  if (group.length > 0) group.push(...grantGuard(snapshot));
  return { group, problems };
}

function withoutSubnet(snapshot: Snapshot): Network[] {
  return [...snapshot.networks()]
    .filter((n) => n.ipam.length === 0 && givesAddresses(n))
    .sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
}
