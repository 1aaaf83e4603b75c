import type { Clock } from '../../common/clock.js';
import { HatobaError, isKind } from '../../common/errors.js';
import type { Change, Kind, ObjectOfKind, Plan } from '../core/snapshot.js';
import { encodeObject } from './codec.js';
import { keyOf, nameKey, uniqueNameOf } from './keys.js';
import { mergeBatches, packBatches, toBatch, type Batch } from './batch.js';
import type { Entry, Guard, Store } from './store.js';

/** Transactions of one plan under way at a time: where etcd's throughput levels off. */
const IN_FLIGHT = 8;

/** So many groups are encoded in one go: a large plan neither stops all else nor fills the memory. */
const GROUPS_AT_ONCE = 2000;

export interface WriteOptions {
  /** The leader's campaign key; compared in every transaction. */
  fence?: Guard;
  clock: Clock;
}

export interface WriteResult {
  /** Of the newest commit, for View.waitFor; 0 when nothing was written. */
  revision: number;
  /** Groups that were not applied as something they rest on had changed: look again and re-plan. */
  conflicts: number;
}

/** What became of a plan; what failed has errors, the rest was written or met conflicts. */
export interface WriteOutcome extends WriteResult {
  errors: readonly unknown[];
}

/**
 * Writes a plan: each group atomically, many groups in one transaction where they fit, several
 * transactions at once. A transaction of several groups that meets a conflict is repeated in halves,
 * so a stale group does not hold up the others; unless the plan's own guards hold no more.
 *
 * - `create`: key and unique name must be free. `update`, `remove`: the stored object must have
 *   `object.version`; the unique name cannot change.
 * - `updatedAtMs` is set to now, `createdAtMs` too when it is 0; `version` is never stored.
 * - An object may be both in `plan.guards` and in a group only if it is the plan's only group, as
 *   the first write makes the guard untrue.
 * @throws {HatobaError} conflict when the fence does not hold: this manager leads no more;
 * unavailable when the outcome of a commit is not known (others were tried);
 * invalid-argument for a group that no transaction can hold
 */
export async function applyPlan(
  store: Store,
  plan: Plan,
  options: WriteOptions,
): Promise<WriteResult> {
  const { revision, conflicts, errors } = await tryPlan(store, plan, options);
  if (errors.length > 0) throw errors.find((e) => isKind(e, 'unavailable')) ?? errors[0];
  return { revision, conflicts };
}

/**
 * As applyPlan, for who needs to know what was written beside what failed.
 * @throws {HatobaError} conflict when the fence does not hold
 */
export async function tryPlan(
  store: Store,
  plan: Plan,
  options: WriteOptions,
): Promise<WriteOutcome> {
  const nowMs = options.clock.nowMs();
  const shared = sharedGuards(plan, options.fence);
  const groups = plan.groups.filter((g) => g.length > 0);
  const run = new PlanRun(store, shared);
  for (let i = 0; i < groups.length && run.errors.length === 0; i += GROUPS_AT_ONCE) {
    const part = groups.slice(i, i + GROUPS_AT_ONCE);
    try {
      const batches = part.map((g) => toBatch(g.map((c) => toWrite(c, nowMs))));
      await run.all(packBatches(batches, shared.length));
    } catch (error) {
      run.errors.push(error);
    }
  }
  const { revision, conflicts, errors } = run;
  if (conflicts > 0 && errors.length === 0 && options.fence !== undefined) {
    await checkFence(store, options.fence);
  }
  return { revision, conflicts, errors };
}

function sharedGuards(plan: Plan, fence: Guard | undefined): Guard[] {
  const guards = (plan.guards ?? []).map((g): Guard => ({
    key: keyOf(g.kind, g.object),
    revision: g.object.version,
  }));
  return fence === undefined ? guards : [fence, ...guards];
}

function toWrite(change: Change, nowMs: number): Batch {
  const { action, kind, object } = change;
  const key = keyOf(kind, object);
  const name = uniqueNameOf(kind, object);
  const names = name === undefined ? [] : [nameKey(kind, name)];
  const revision = action === 'create' ? 0 : object.version;
  if (action !== 'create' && revision === 0) {
    throw new HatobaError(
      'internal',
      `${action} of ${key}: the object was never read from the store`,
    );
  }
  if (action === 'remove') {
    return { guards: [{ key, revision }], puts: [], deletes: [key, ...names] };
  }
  const value = encodeObject(kind, stamped(object, nowMs));
  if (action === 'update')
    return { guards: [{ key, revision }], puts: [{ key, value }], deletes: [] };
  const id = Buffer.from(object.id);
  return {
    guards: [key, ...names].map((k) => ({ key: k, revision: 0 })),
    puts: [{ key, value }, ...names.map((k) => ({ key: k, value: id }))],
    deletes: [],
  };
}

function stamped(object: ObjectOfKind[Kind], nowMs: number): ObjectOfKind[Kind] {
  const createdAtMs = object.createdAtMs === 0 ? nowMs : object.createdAtMs;
  return { ...object, createdAtMs, updatedAtMs: nowMs };
}

/** The commits of one plan. */
class PlanRun {
  revision = 0;
  conflicts = 0;
  readonly errors: unknown[] = [];
  readonly #store: Store;
  readonly #shared: readonly Guard[];
  #isStale = false;

  constructor(store: Store, shared: readonly Guard[]) {
    this.#store = store;
    this.#shared = shared;
  }

  /** @param transactions each the groups that go into it */
  async all(transactions: readonly (readonly Batch[])[]): Promise<void> {
    const queue = [...transactions];
    const worker = async (): Promise<void> => {
      for (let groups = queue.shift(); groups !== undefined; groups = queue.shift()) {
        try {
          queue.push(...(await this.#commit(groups)));
        } catch (error) {
          this.errors.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  }

  /** @returns what is to be tried again, apart */
  async #commit(groups: readonly Batch[]): Promise<Batch[][]> {
    if (this.#isStale) {
      this.conflicts += groups.length;
      return [];
    }
    try {
      const revision = await this.#store.commit(mergeBatches(groups, this.#shared));
      this.revision = Math.max(this.revision, revision);
      return [];
    } catch (error) {
      if (!isKind(error, 'conflict')) throw error;
    }
    if (groups.length === 1 || (await this.#hasGoneStale())) {
      this.conflicts += groups.length;
      return [];
    }
    const half = Math.ceil(groups.length / 2);
    return [groups.slice(0, half), groups.slice(half)];
  }

  /** Whether what all groups rest on has changed: none of them can be written any more. */
  async #hasGoneStale(): Promise<boolean> {
    for (const guard of this.#shared) {
      this.#isStale ||= !holds(guard, await this.#store.get(guard.key));
    }
    return this.#isStale;
  }
}

/** A guard by creation is the campaign key's, which is written once. */
function holds(guard: Guard, entry: Entry | undefined): boolean {
  const wanted = 'revision' in guard ? guard.revision : guard.createRevision;
  return (entry?.revision ?? 0) === wanted;
}

async function checkFence(store: Store, fence: Guard): Promise<void> {
  if (holds(fence, await store.get(fence.key))) return;
  throw new HatobaError('conflict', 'this manager is not the leader any more');
}
