import { toWord } from '../../common/model/words.js';
import { TaintEffect } from '../../proto/gen/hatoba/v1/types.js';
import { wrong } from './wrong.js';

/** The words in which people name taints of nodes, in compose files and on the command line. */

export const EFFECT_WORDS = ['no-schedule', 'prefer-no-schedule', 'no-execute'] as const;
export type EffectWord = (typeof EFFECT_WORDS)[number];
export const EFFECTS: Readonly<Record<EffectWord, TaintEffect>> = {
  'no-schedule': TaintEffect.NO_SCHEDULE,
  'prefer-no-schedule': TaintEffect.PREFER_NO_SCHEDULE,
  'no-execute': TaintEffect.NO_EXECUTE,
};

export interface TaintWords {
  key: string;
  /** Empty when the words name none. */
  value: string;
  effect: TaintEffect | undefined;
}

/**
 * "gpu", "gpu=a100", "gpu:no-execute", "gpu=a100:no-schedule".
 * @throws {HatobaError} invalid-argument
 */
export function parseTaintWords(text: string): TaintWords {
  const match = /^([^\s=:]+)(?:=([^\s=:]+))?(?::([a-z-]+))?$/.exec(text);
  if (match === null) {
    throw wrong(`"${text}" is not a taint like "gpu", "gpu=a100" or "gpu=a100:no-schedule"`);
  }
  const [, key = '', value = '', effect] = match;
  return { key, value, effect: effect === undefined ? undefined : effectOf(text, effect) };
}

/** The same the other way round; a key that is empty stays so. */
export function taintText({ key, value, effect }: TaintWords): string {
  const words = value === '' ? key : `${key}=${value}`;
  return effect === undefined ? words : `${words}:${toWord(effect)}`;
}

function effectOf(text: string, word: string): TaintEffect {
  const known = EFFECT_WORDS.find((w) => w === word);
  if (known !== undefined) return EFFECTS[known];
  throw wrong(`"${text}" has the unknown effect "${word}" (known are ${EFFECT_WORDS.join(', ')})`);
}
