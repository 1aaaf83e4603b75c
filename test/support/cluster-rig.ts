import { silentLogger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { Change, Kind, ObjectOfKind } from '../../manager/core/snapshot.js';
import { MemoryStore } from '../../manager/store/memory-store.js';
import { applyPlan } from '../../manager/store/write.js';
import { Reflector } from '../../manager/view/reflector.js';
import { View } from '../../manager/view/view.js';
import { FakeClock } from './fake-clock.js';

/** Counts: ids differ, and are the same in each run. */
export function countingRandom(): Random {
  let count = 0;
  return {
    next: () => 0.5,
    bytes: (length) => {
      count++;
      const bytes = Buffer.alloc(length);
      if (length >= 4) bytes.writeUInt32BE(count, length - 4);
      else bytes.fill(count);
      return bytes;
    },
  };
}

/** A store in memory and the view of it, on a clock that stands still. */
export interface ClusterRig extends AsyncDisposable {
  readonly clock: FakeClock;
  readonly store: MemoryStore;
  readonly view: View;
  readonly random: Random;
  /** Writes objects as they are, and waits until the view shows them. */
  put<K extends Kind>(kind: K, ...objects: ObjectOfKind[K][]): Promise<void>;
  /** Changes one object of the view and waits until it shows. */
  change<K extends Kind>(kind: K, object: ObjectOfKind[K]): Promise<void>;
}

export async function createClusterRig(): Promise<ClusterRig> {
  const clock = new FakeClock();
  const random = countingRandom();
  const store = new MemoryStore({ clock });
  const view = new View();
  const reflector = new Reflector({ store, view, clock, random, logger: silentLogger });
  await reflector.start();
  const write = async (changes: Change[]): Promise<void> => {
    const plan = { groups: changes.map((c) => [c]) };
    const { revision, conflicts } = await applyPlan(store, plan, { clock });
    if (conflicts > 0) throw new Error('the test wrote over a newer version');
    await view.waitFor(revision);
  };
  return {
    clock,
    store,
    view,
    random,
    put: (kind, ...objects) =>
      write(objects.map((object) => ({ action: 'create', kind, object }) as Change)),
    change: (kind, object) => write([{ action: 'update', kind, object } as Change]),
    [Symbol.asyncDispose]: async () => {
      await reflector[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}
