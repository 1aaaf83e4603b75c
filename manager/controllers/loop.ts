import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import type { Plan } from '../core/snapshot.js';
import type { Guard, Store } from '../store/store.js';
import { applyPlan } from '../store/write.js';
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
}

/** The key of loops that look at the cluster as a whole. */
export const WHOLE_CLUSTER = 'cluster';

/**
 * Writes a plan and waits until the view shows it, so that the next plan of the same loop rests on
 * all that this one gave out.
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
    const { store, view, clock, fence } = modules;
    const { revision, conflicts } = await applyPlan(store, plan, { clock, fence });
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
