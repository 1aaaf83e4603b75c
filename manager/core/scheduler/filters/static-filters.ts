import { toWord } from '../../../../common/model/words.js';
import { NodeAvailability, NodeState } from '../../../../proto/gen/hatoba/v1/types.js';
import { matchesConstraint, matchesPlatform } from '../constraint.js';
import type { NodeView } from '../node-view.js';
import type { PlacementRequest } from '../request.js';
import { repellingTaints, taintText } from '../taints.js';
import { shortened, verb, type Check } from './check.js';

/** What depends on the node alone: no placement can change it. Undefined: of no concern. */
export type StaticFilter = (request: PlacementRequest) => Check | undefined;

const ready: StaticFilter = () => ({
  fits: ({ node }) =>
    node.status.state === NodeState.READY && node.spec.availability === NodeAvailability.ACTIVE,
  explain: (failed) => {
    const why = failed.map((v) => `${v.name} is ${conditionOf(v)}`);
    return `${verb(failed, 'takes', 'take')} no tasks (${shortened(why)})`;
  },
});

function conditionOf({ node }: NodeView): string {
  if (node.status.state !== NodeState.READY) return toWord(node.status.state);
  return node.spec.availability === NodeAvailability.DRAIN ? 'drained' : 'paused';
}

const constraints: StaticFilter = ({ constraints: all }) => {
  if (all.length === 0) return undefined;
  return {
    fits: ({ node }) => all.every((c) => matchesConstraint(c, node)),
    explain: (failed) => {
      const broken = all.filter((c) => failed.some((v) => !matchesConstraint(c, v.node)));
      const expressions = broken.map((c) => c.expression).join(' and ');
      return `${verb(failed, 'does', 'do')} not satisfy ${expressions}`;
    },
  };
};

const platform: StaticFilter = ({ task }) => {
  const { platforms } = task.spec.placement;
  if (platforms.length === 0) return undefined;
  return {
    fits: ({ node }) => matchesPlatform(node, platforms),
    explain: (failed) => {
      const wanted = platforms.map((p) => `${p.os}/${p.architecture}`);
      return `${verb(failed, 'is', 'are')} not of platform ${wanted.join(' or ')}`;
    },
  };
};

const taints: StaticFilter = ({ task }) => {
  const { tolerations } = task.spec.placement;
  return {
    fits: ({ node }) =>
      node.spec.taints.length === 0 || repellingTaints(node, tolerations).length === 0,
    explain: (failed) => {
      const which = failed.flatMap(({ node }) => repellingTaints(node, tolerations).map(taintText));
      const list = shortened([...new Set(which)]);
      return `${verb(failed, 'has', 'have')} taints that it does not tolerate (${list})`;
    },
  };
};

/** Tunnels are of IPv4, from the address of the data path, on a link that is there. */
const networks: StaticFilter = ({ needsOverlay }) => {
  if (!needsOverlay) return undefined;
  return {
    fits: ({ node: { description } }) =>
      description.underlayMtuBytes > 0 && !description.dataPathAddress.includes(':'),
    explain: (failed) =>
      `${verb(failed, 'has', 'have')} no link for the tunnels of its networks ` +
      `(${shortened(failed.map((v) => v.name))}: set dataPathAddr in agent.yaml to an IPv4 address of the host)`,
  };
};

/** The cheap ones first. */
const STATIC_FILTERS: readonly StaticFilter[] = [ready, constraints, platform, taints, networks];

/** Those that a placement cannot change, see NodeIndex.eligible. */
export function staticChecks(request: PlacementRequest): Check[] {
  return STATIC_FILTERS.flatMap((filter) => filter(request) ?? []);
}
