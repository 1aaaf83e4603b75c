import { formatDurationMs } from '../../common/duration.js';
import type { Service } from '../../common/model/objects.js';
import {
  PlacementStrategy,
  type Affinity,
  type Toleration,
  type TopologySpread,
} from '../../proto/gen/hatoba/v1/types.js';
import { taintText } from '../words/taints.js';
import type { Detail } from './details.js';

/** Where tasks of a service may and should go, and what gives way to what, for people. */
export function placementLines({ spec }: Service): Detail[] {
  const { placement, priority } = spec.taskTemplate;
  const { constraints, preferences, affinities, spreads, tolerations, maxReplicas } = placement;
  return [
    ['Constraints', constraints.join(', ')],
    ['Preferences', preferences.map((p) => `spread ${p.spreadDescriptor}`).join(', ')],
    ['Affinities', affinities.map(affinityText).join(', ')],
    ['Spreads', spreads.map(spreadText).join(', ')],
    ['Tolerations', tolerations.map(tolerationText).join(', ')],
    ['Strategy', placement.strategy === PlacementStrategy.BINPACK ? 'binpack' : ''],
    ['At most', maxReplicas === 0 ? '' : `${maxReplicas} per node`],
    ['Priority', priority === 0 ? '' : String(priority)],
    ['Rebalance', spec.rebalance ? 'when nodes come, or come back' : ''],
  ];
}

function affinityText({ expression, topology, weight }: Affinity): string {
  const words = [
    ...(topology === '' ? [] : [`by ${topology}`]),
    ...(weight === 0 ? [] : [`weight ${weight}`]),
  ];
  return withWords(expression, words);
}

function spreadText({ key, maxSkew, required }: TopologySpread): string {
  const words = [
    ...(maxSkew > 1 ? [`at most ${maxSkew} apart`] : []),
    ...(required ? ['required'] : []),
  ];
  return withWords(key, words);
}

function tolerationText({ key, value, effect, tolerationMs }: Toleration): string {
  const what = taintText({ key: key === '' ? 'everything' : key, value, effect });
  return tolerationMs === undefined ? what : `${what} for ${formatDurationMs(tolerationMs)}`;
}

function withWords(text: string, words: readonly string[]): string {
  return words.length === 0 ? text : `${text} (${words.join(', ')})`;
}
