import { setMaxListeners } from 'node:events';
import { describeError, HatobaError } from '../../common/errors.js';
import type { Leadership } from '../leader/election.js';
import type { Store } from '../store/store.js';
import type { View } from '../view/view.js';
import { allocateController } from './allocate.js';
import { runControllers, type ControllerModules } from './controller.js';
import { Ledger } from './ledger.js';
import type { LoopModules } from './loop.js';
import { orchestrateController } from './orchestrate.js';
import { reapController } from './reap.js';
import { scheduleController } from './schedule.js';

/**
 * What a manager does while it leads: all control loops, from the moment its view shows what the
 * leader before it wrote last, until leadership ends or one of them has to give it up. Resolves
 * when the last loop has returned.
 * @throws {HatobaError} failed-precondition while the store holds what this manager cannot read:
 * the tasks of a service it does not see would be removed. Another manager may be newer
 */
export async function leadTerm(
  { fence, signal }: Leadership,
  modules: ControllerModules & { readonly store: Store; readonly view: View },
): Promise<void> {
  const resigning = new AbortController();
  const end = AbortSignal.any([signal, resigning.signal]);
  setMaxListeners(0, end); // each worker's wait is one
  // Everything of former terms was fenced by keys older than this one.
  if ('createRevision' in fence) await modules.view.waitFor(fence.createRevision, end);
  const { view, logger } = modules;
  const blindness = blindnessOf(view);
  if (blindness !== undefined) throw blindness;
  const ledger = new Ledger(view);
  const loop: LoopModules = {
    ...modules,
    ...{ fence, ledger },
    resign: (reason) => {
      if (end.aborted) return;
      logger.warn('Giving up leadership', { reason: describeError(reason) });
      resigning.abort(reason);
    },
  };
  const controllers = [
    orchestrateController(loop),
    allocateController(loop),
    scheduleController(loop),
    reapController(loop),
  ];
  const stopLedger = ledger.start(modules.clock); // before the loops, which rest on it
  const unwatch = view.onChange(() => {
    const reason = blindnessOf(view);
    if (reason !== undefined) loop.resign(reason);
  });
  try {
    await runControllers(controllers, modules, end);
  } finally {
    unwatch();
    stopLedger();
  }
}

function blindnessOf(view: View): HatobaError | undefined {
  const [first, ...others] = view.unreadableKeys();
  if (first === undefined) return undefined;
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  return new HatobaError(
    'failed-precondition',
    `the store holds what this manager cannot read (${first}${more}): start a manager of the ` +
      'version that wrote it, or restore or delete the key',
  );
}
