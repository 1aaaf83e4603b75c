import type { Clock } from '../../common/clock.js';
import { HatobaError, isKind, wrapError } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import type { Plan } from '../core/snapshot.js';
import type { Guard, Store } from '../store/store.js';
import { tryPlan, type WriteOutcome } from '../store/write.js';
import type { View } from '../view/view.js';
import type { ReconcileResult } from './controller.js';
import type { Ledger } from './ledger.js';

/** What every control loop works with, for as long as this manager leads. */
export interface LoopModules extends WriteModules {
  random: Random;
  /** What the loops have given out, and what is left to give. */
  ledger: Ledger;
}

export interface WriteModules {
  view: View;
  store: Store;
  clock: Clock;
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
 * all that this one gave out. However it ends, but for the end of the term, what the view shows then
 * is what came of it.
 *
 * After a write that failed otherwise than by a conflict nobody knows what was given out: it may
 * show later, or even be applied later, and a plan made meanwhile could give an address or a node's
 * memory a second time. So the term ends; the next one begins behind all that this one wrote.
 * @throws {HatobaError} conflict when a part rested on what had changed: plan again
 */
export async function applyAndSee(
  modules: WriteModules,
  plan: Plan,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  signal.throwIfAborted();
  const { requeueAfterMs } = plan;
  if (plan.groups.length > 0) await writeAndSee(modules, plan, signal);
  return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
}

const UNKNOWN_OUTCOMES = ['unavailable', 'deadline', 'resource-exhausted'] as const;

async function writeAndSee(modules: WriteModules, plan: Plan, signal: AbortSignal): Promise<void> {
  const { revision, conflicts, errors } = await written(modules, plan);
  const unknown = errors.find((e) => isKind(e, ...UNKNOWN_OUTCOMES));
  if (unknown !== undefined) {
    const reason = wrapError(unknown, 'a write may or may not have been made');
    modules.resign(reason);
    throw reason;
  }
  await modules.view.waitFor(revision, signal);
  if (errors.length > 0) throw wrapError(errors[0], 'a plan');
  if (conflicts === 0) return;
  throw new HatobaError('conflict', `${conflicts} of ${plan.groups.length} steps were outdated`);
}

/** Never rejects. */
async function written(modules: WriteModules, plan: Plan): Promise<WriteOutcome> {
  const { store, clock, fence } = modules;
  try {
    return await tryPlan(store, plan, { clock, fence });
  } catch (error) {
    return { revision: 0, conflicts: 0, errors: [error] };
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
