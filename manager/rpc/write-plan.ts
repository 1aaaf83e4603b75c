import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Plan } from '../core/snapshot.js';
import type { Store } from '../store/store.js';
import { applyPlan } from '../store/write.js';
import type { View } from '../view/view.js';

/** What every server of a manager reads and writes. */
export interface ClusterAccess {
  readonly store: Store;
  readonly view: View;
  readonly clock: Clock;
}

const MAX_ATTEMPTS = 20;
/** Longest wait for the view to show the write that came between. */
const CATCH_UP_MS = 100;

/**
 * Decides on the view and writes, again from the start while another write came between. Resolves
 * once the view shows the result, so that a caller reads its own write.
 * @param decide called once per attempt; throws when what is asked cannot be (any more). An
 * undefined plan is nothing to write.
 * @throws {HatobaError} conflict when others kept writing in between
 */
export async function writePlan(
  cluster: ClusterAccess,
  decide: () => Plan | undefined,
  signal?: AbortSignal,
): Promise<void> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    signal?.throwIfAborted();
    const plan = decide();
    if (plan === undefined) return;
    const seen = cluster.view.revision;
    const { revision, conflicts } = await applyPlan(cluster.store, plan, { clock: cluster.clock });
    await cluster.view.waitFor(revision, signal);
    if (conflicts === 0) return;
    await catchUp(cluster, seen, signal);
  }
  throw new HatobaError('conflict', 'other writes kept coming in between; try again');
}

/** Waits until the view has moved past `revision`, or for a short while. */
export async function catchUp(
  cluster: Pick<ClusterAccess, 'view' | 'clock'>,
  revision: number,
  signal?: AbortSignal,
): Promise<void> {
  const patience = new AbortController();
  const stop = (): void => {
    patience.abort();
  };
  const cancel = cluster.clock.setTimer(CATCH_UP_MS, stop);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    await cluster.view.waitFor(revision + 1, patience.signal);
  } catch {
    signal?.throwIfAborted(); // else the wait is over, which is all it was for
  } finally {
    cancel();
    signal?.removeEventListener('abort', stop);
  }
}
