import { HatobaError } from '../../common/errors.js';
import type { NodeSpec, Taint } from '../../proto/gen/hatoba/v1/types.js';
import { EFFECT_WORDS, parseTaintWords, type TaintWords } from './taints.js';
import { wrong } from './wrong.js';

/** What is to be other about a node; empty lists and absent fields leave it as it is. */
export interface NodeChange extends Partial<Pick<NodeSpec, 'availability' | 'role' | 'name'>> {
  readonly labelAdd: Readonly<Record<string, string>>;
  readonly labelRm: readonly string[];
  readonly taintAdd: readonly Taint[];
  readonly taintRm: readonly TaintWords[];
}

export const NO_CHANGE: NodeChange = { labelAdd: {}, labelRm: [], taintAdd: [], taintRm: [] };

/** "gpu:no-schedule", "gpu=a100:no-execute". @throws {HatobaError} invalid-argument */
export function parseNewTaint(text: string): Taint {
  const { key, value, effect } = parseTaintWords(text);
  if (effect !== undefined) return { key, value, effect, addedAtMs: 0 };
  const example = `${text}:${EFFECT_WORDS[0]}`;
  throw wrong(
    `"${text}" does not say what it does: "${example}", or one of ${EFFECT_WORDS.join(', ')}`,
  );
}

/**
 * A taint that is added takes the place of one with the same key and effect.
 * @throws {HatobaError} not-found for a label or taint that is to go and is not there
 */
export function changedNodeSpec(spec: NodeSpec, change: NodeChange): NodeSpec {
  const { labelAdd, labelRm, taintAdd, taintRm, ...fields } = change;
  return {
    ...spec,
    ...fields,
    labels: { ...withoutLabels(spec.labels, labelRm), ...labelAdd },
    taints: [...withoutTaints(spec.taints, taintRm).filter((t) => !isIn(taintAdd, t)), ...taintAdd],
  };
}

function withoutLabels(
  labels: Readonly<Record<string, string>>,
  keys: readonly string[],
): Record<string, string> {
  const missing = keys.filter((key) => !Object.hasOwn(labels, key));
  if (missing.length > 0) throw notThere('label', missing, Object.keys(labels));
  return Object.fromEntries(Object.entries(labels).filter(([key]) => !keys.includes(key)));
}

function withoutTaints(taints: readonly Taint[], gone: readonly TaintWords[]): Taint[] {
  const missing = gone.filter((words) => !taints.some((t) => isMeant(words, t)));
  if (missing.length > 0) {
    throw notThere(
      'taint',
      missing.map((t) => t.key),
      taints.map((t) => t.key),
    );
  }
  return taints.filter((t) => !gone.some((words) => isMeant(words, t)));
}

/** What the words leave out, is any. */
function isMeant({ key, value, effect }: TaintWords, taint: Taint): boolean {
  return (
    key === taint.key &&
    (value === '' || value === taint.value) &&
    (effect === undefined || effect === taint.effect)
  );
}

function isIn(taints: readonly Taint[], { key, effect }: Taint): boolean {
  return taints.some((t) => t.key === key && t.effect === effect);
}

function notThere(what: string, missing: readonly string[], there: readonly string[]): HatobaError {
  const has = there.length === 0 ? 'none' : there.join(', ');
  return new HatobaError(
    'not-found',
    `the node has no ${what} ${missing.map((m) => `"${m}"`).join(', ')} (it has ${has})`,
  );
}
