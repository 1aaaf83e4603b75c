import { describeError } from '../../common/errors.js';
import {
  Affinity,
  PlacementStrategy,
  Toleration,
  TopologySpread,
  type GenericResource,
  type Placement,
} from '../../proto/gen/hatoba/v1/types.js';
import { EFFECT_WORDS, EFFECTS, parseTaintWords } from '../words/taints.js';
import type { Value } from './reader.js';

/** What the placement of a service refers to outside of it. */
export interface PlacementScope {
  /** Full name of a service of the file ("db" → "STACK_db"); others stay as they are. */
  serviceName: (name: string) => string;
}

const STRATEGIES = {
  spread: PlacementStrategy.SPREAD,
  binpack: PlacementStrategy.BINPACK,
} as const;
const MOST_WEIGHT = 100;

/** Reads `placement:` of a deploy section. */
export function readPlacement(value: Value, placement: Placement, scope: PlacementScope): void {
  value.fields({
    constraints: (v) => (placement.constraints = v.strings()),
    preferences: (v) => {
      for (const item of v.items()) {
        item.fields({
          spread: (s) => placement.preferences.push({ spreadDescriptor: s.string() ?? '' }),
        });
      }
    },
    max_replicas_per_node: (v) => (placement.maxReplicas = v.integer() ?? 0),
    affinities: (v) => (placement.affinities = v.items().map((i) => readAffinity(i, scope))),
    spreads: (v) => (placement.spreads = v.items().map(readSpread)),
    tolerations: (v) => (placement.tolerations = v.items().map(readToleration)),
    strategy: (v) => {
      const word = v.oneOf(['spread', 'binpack']);
      if (word !== undefined) placement.strategy = STRATEGIES[word];
    },
  });
}

/** "service!=web", which is a condition; or a map, where a weight makes it a wish. */
function readAffinity(value: Value, scope: PlacementScope): Affinity {
  const affinity = Affinity.fromPartial({});
  const setExpression = (v: Value): void => {
    affinity.expression = withFullName(v.string() ?? '', scope);
  };
  if (!value.isMap) {
    setExpression(value);
    return affinity;
  }
  value.fields({
    expression: setExpression,
    topology: (v) => (affinity.topology = v.string() ?? ''),
    weight: (v) => (affinity.weight = v.integer(1, MOST_WEIGHT) ?? 0),
  });
  if (affinity.expression === '') value.problem('needs "expression", such as "service!=web"');
  return affinity;
}

/** "service==db" is the db of the same file, where there is one. */
function withFullName(expression: string, { serviceName }: PlacementScope): string {
  const match = /^(\s*service\s*[!=]=\s*)(\S+)\s*$/.exec(expression);
  return match === null ? expression : `${match[1] ?? ''}${serviceName(match[2] ?? '')}`;
}

/** "node.labels.zone", which is a wish; or a map. */
function readSpread(value: Value): TopologySpread {
  const spread = TopologySpread.fromPartial({});
  if (!value.isMap) {
    spread.key = value.string() ?? '';
    return spread;
  }
  value.fields({
    key: (v) => (spread.key = v.string() ?? ''),
    max_skew: (v) => (spread.maxSkew = v.integer(1) ?? 0),
    required: (v) => (spread.required = v.boolean() ?? false),
  });
  if (spread.key === '') value.problem('needs "key", such as "node.labels.zone"');
  return spread;
}

/** "gpu=a100:no-schedule", or a map; what that leaves out, is any. */
function readToleration(value: Value): Toleration {
  const toleration = Toleration.fromPartial({});
  if (!value.isMap) {
    const text = value.string();
    if (text === undefined) return toleration;
    try {
      return { ...toleration, ...parseTaintWords(text) };
    } catch (error) {
      value.problem(describeError(error));
      return toleration;
    }
  }
  value.fields({
    key: (v) => (toleration.key = v.string() ?? ''),
    value: (v) => (toleration.value = v.string() ?? ''),
    effect: (v) => {
      const word = v.oneOf(EFFECT_WORDS);
      if (word !== undefined) toleration.effect = EFFECTS[word];
    },
    for: (v) => (toleration.tolerationMs = v.durationMs()),
  });
  return toleration;
}

/** Reads `generic_resources:` of reservations. */
export function readGenericResources(value: Value): GenericResource[] {
  return value.items().map((item) => {
    const resource: GenericResource = { kind: '', count: 0, names: [] };
    item.fields({
      discrete_resource_spec: (spec) => {
        spec.fields({
          kind: (v) => (resource.kind = v.string() ?? ''),
          value: (v) => (resource.count = v.integer(1) ?? 1),
        });
      },
    });
    if (resource.kind === '' || resource.count === 0) {
      item.problem('needs "discrete_resource_spec" with "kind" and "value"');
    }
    return resource;
  });
}
