import { HatobaError } from '../../../common/errors.js';
import type { TaskScript } from '../../support/fake-executor.js';

/** What becomes of a container, by the image's name; a tag may be anything. */
export interface ImageLife {
  readonly script: TaskScript;
  /** The start reports a failure although the container runs. */
  readonly lies?: boolean;
  /** Whether tasks of it come up and stay. */
  readonly isGood?: boolean;
}

const LIVES: Readonly<Record<string, ImageLife>> = {
  good: { script: { prepare: { takesMs: 20 } }, isGood: true },
  slow: {
    script: { prepare: { takesMs: 2500 }, start: { takesMs: 300 }, shutdown: { takesMs: 1500 } },
    isGood: true,
  },
  healthy: { script: { health: { afterMs: 900, becomes: 'healthy' } }, isGood: true },
  stubborn: { script: { shutdown: { takesMs: 6000 } }, isGood: true },
  flaky: {
    script: {
      prepare: { error: new HatobaError('unavailable', 'the registry is busy'), times: 1 },
    },
    isGood: true,
  },
  missing: { script: { prepare: { error: new HatobaError('not-found', 'no such image') } } },
  crashing: { script: { exits: { afterMs: 700, code: 1 } } },
  late: { script: { exits: { afterMs: 4000, code: 3 } } },
  done: { script: { exits: { afterMs: 1500, code: 0 } } },
  sick: { script: { health: { afterMs: 800, becomes: 'unhealthy', output: 'no answer' } } },
  hanging: { script: { prepare: { hangs: true } } },
  lying: { script: {}, lies: true },
};

export const GOOD_IMAGES = Object.keys(LIVES).filter((name) => LIVES[name]?.isGood === true);
export const BAD_IMAGES = Object.keys(LIVES).filter((name) => LIVES[name]?.isGood !== true);

/** @param image "good:3" */
export function lifeOf(image: string): ImageLife {
  return LIVES[image.split(':', 1)[0] ?? ''] ?? { script: {}, isGood: true };
}
