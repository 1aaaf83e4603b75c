import type { Clock } from '../../common/clock.js';
import { HatobaError, isKind, wrapError } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import type { Plan } from '../core/snapshot.js';
import type { Guard, Store } from '../store/store.js';
import { applyPlan, type WriteResult } from '../store/write.js';
import type { View } from '../view/view.js';
import type { ReconcileResult } from './controller.js';

/** What every control loop works with, for as long as this manager leads. */
export interface LoopModules {
  view: View;
  store: Store;
  clock: Clock;
  random: Random;
  /** The leader's campaign key. */
  fence: Guard;
  /**
   * Ends this term: the loops stop, and whoever leads next has a fence of its own, which no write
   * of this term passes any more.
   */
  resign: (reason: Error) => void;
}

/** The key of loops that look at the cluster as a whole. */
export const WHOLE_CLUSTER = 'cluster';

/**
 * Writes a plan and waits until the view shows it, so that the next plan of the same loop rests on
 * all that this one gave out.
 *
 * After a write that failed otherwise than by a conflict nobody knows what was given out: it may
 * show later, or even be applied later, and a plan made meanwhile could give an address or a node's
 * memory a second time. So the term ends; the next one begins behind all that this one wrote.
 * @throws {HatobaError} conflict when a part rested on what had changed: plan again
 */
export async function applyAndSee(
  modules: LoopModules,
  plan: Plan,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  signal.throwIfAborted();
  const { requeueAfterMs } = plan;
  if (plan.groups.length > 0) {
    const { view } = modules;
    const { revision, conflicts } = await write(modules, plan);
    await view.waitFor(revision, signal);
    if (conflicts > 0) {
      throw new HatobaError(
        'conflict',
        `${conflicts} of ${plan.groups.length} steps were outdated`,
      );
    }
  }
  return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
}

async function write(modules: LoopModules, plan: Plan): Promise<WriteResult> {
  const { store, clock, fence } = modules;
  try {
    return await applyPlan(store, plan, { clock, fence });
  } catch (error) {
    const mayHaveBeenMade = isKind(error, 'unavailable', 'deadline', 'resource-exhausted');
    if (mayHaveBeenMade) modules.resign(wrapError(error, 'a write may or may not have been made'));
    throw error;
  }
}

/**
 * Gathers calls: the first one starts the wait, its end runs once.
 * @returns the function to call, and one that ends a wait under way
 */
export function debounced(
  clock: Clock,
  waitMs: number,
  run: () => void,
): { call: () => void; cancel: () => void } {
  let cancelTimer: (() => void) | undefined;
  return {
    call: () => {
      cancelTimer ??= clock.setTimer(waitMs, () => {
        cancelTimer = undefined;
        run();
      });
    },
    cancel: () => {
      cancelTimer?.();
      cancelTimer = undefined;
    },
  };
}
