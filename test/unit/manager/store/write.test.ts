import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError, kindOf } from '../../../../common/errors.js';
import type { Service } from '../../../../common/model/objects.js';
import type { Change, Plan } from '../../../../manager/core/snapshot.js';
import {
  MAX_BYTES,
  MAX_OPERATIONS,
  packBatches,
  toBatch,
} from '../../../../manager/store/batch.js';
import { decodeObject, encodeObject } from '../../../../manager/store/codec.js';
import { LEADER_KEY } from '../../../../manager/store/keys.js';
import { MemoryStore, type MemoryStoreOptions } from '../../../../manager/store/memory-store.js';
import type { Transaction } from '../../../../manager/store/store.js';
import { applyPlan, type WriteResult } from '../../../../manager/store/write.js';
import { aNetwork, aNode, aService, aTask } from '../../../support/builders.js';
import { FakeClock } from '../../../support/fake-clock.js';

const NOW = 1_700_000_000_000;

describe('applyPlan', () => {
  let clock: FakeClock;
  let store: MemoryStore;
  let commits: Transaction[];

  const setUp = (options: MemoryStoreOptions = {}): void => {
    clock = new FakeClock(NOW);
    commits = [];
    store = new MemoryStore(
      { clock },
      {
        commitFault: (transaction) => {
          commits.push(transaction);
          return options.commitFault?.(transaction) ?? 'none';
        },
      },
    );
  };
  const apply = (groups: readonly Change[][], more: Partial<Plan> = {}): Promise<WriteResult> =>
    applyPlan(store, { groups, ...more }, { clock });
  const create = (object: Service): Change => ({ action: 'create', kind: 'service', object });
  const read = async (id: string): Promise<Service | undefined> => {
    const entry = await store.get(`/hatoba/v1/service/${id}`);
    return entry && decodeObject('service', entry.value, entry.revision);
  };
  const nameOwner = async (name: string): Promise<string | undefined> => {
    const entry = await store.get(`/hatoba/v1/name/service/${name}`);
    return entry && Buffer.from(entry.value).toString();
  };
  beforeEach(() => setUp());

  it('creates an object and its name, stamped, its version the revision', async () => {
    const { revision, conflicts } = await apply([
      [create(aService({ version: 99, createdAtMs: 0, updatedAtMs: 0 }))],
    ]);
    const stored = await read('id-web');
    assert.equal(conflicts, 0);
    assert.deepEqual(
      [stored?.version, stored?.createdAtMs, stored?.updatedAtMs, await nameOwner('web')],
      [revision, NOW, NOW, 'id-web'],
    );
  });

  it('refuses a name that is taken, as a conflict', async () => {
    await apply([[create(aService())]]);
    const { conflicts, revision } = await apply([[create(aService({ id: 'other' }))]]);
    assert.deepEqual([conflicts, revision, await nameOwner('web')], [1, 0, 'id-web']);
  });

  it('updates and removes only the version it has seen', async () => {
    await apply([[create(aService())]]);
    const first = await read('id-web');
    assert.ok(first !== undefined);
    await clock.advance(10);
    const change = (action: 'update' | 'remove'): Change[][] => [
      [{ action, kind: 'service', object: { ...first, specVersion: 2 } }],
    ];
    assert.equal((await apply(change('update'))).conflicts, 0);
    const second = await read('id-web');
    assert.deepEqual(
      [second?.specVersion, second?.createdAtMs, second?.updatedAtMs],
      [2, NOW, NOW + 10],
    );
    assert.equal((await apply(change('update'))).conflicts, 1);
    assert.equal((await apply(change('remove'))).conflicts, 1);
    assert.ok(second !== undefined);
    await apply([[{ action: 'remove', kind: 'service', object: second }]]);
    assert.deepEqual([await read('id-web'), await nameOwner('web')], [undefined, undefined]);
  });

  it('applies a group whole or not at all', async () => {
    await apply([[create(aService())]]);
    const group = [
      create(aService({ spec: { name: 'new' } })),
      create(aService({ id: 'twin' })), // the name is taken
    ];
    assert.equal((await apply([group])).conflicts, 1);
    assert.equal(await read('id-new'), undefined);
  });

  it('gives the name of a removed object to one created in the same group', async () => {
    await apply([[create(aService())]]);
    const old = await read('id-web');
    assert.ok(old !== undefined);
    const group: Change[] = [
      { action: 'remove', kind: 'service', object: old },
      create(aService({ id: 'next' })),
    ];
    assert.equal((await apply([group])).conflicts, 0);
    assert.deepEqual([await read('id-web'), await nameOwner('web')], [undefined, 'next']);
  });

  it('puts many groups into few transactions', async () => {
    const groups = Array.from({ length: 300 }, (_, i): Change[] => [
      { action: 'create', kind: 'task', object: aTask({ slot: i + 1 }) },
    ]);
    await apply(groups);
    assert.deepEqual(
      commits.map((c) => c.puts.length),
      [128, 128, 44],
    );
  });

  it('lets one stale group not hold up the others', async () => {
    await apply([[{ action: 'create', kind: 'task', object: aTask({ slot: 7 }) }]]);
    const groups = Array.from({ length: 10 }, (_, i): Change[] => [
      { action: 'create', kind: 'task', object: aTask({ slot: i + 1 }) },
    ]);
    const { conflicts } = await apply(groups);
    assert.equal(conflicts, 1);
    assert.equal((await store.list('/hatoba/v1/task/')).entries.length, 10);
  });

  it('applies nothing when a guard of the plan has changed', async () => {
    await apply([[create(aService())]]);
    const seen = await read('id-web');
    assert.ok(seen !== undefined);
    const guards = [{ kind: 'service', object: seen }] as const;
    const task = (slot: number): Change[][] => [
      [{ action: 'create', kind: 'task', object: aTask({ slot }) }],
    ];
    assert.equal((await apply(task(1), { guards })).conflicts, 0);
    await apply([[{ action: 'update', kind: 'service', object: seen }]]);
    assert.equal((await apply(task(2), { guards })).conflicts, 1);
    assert.equal((await store.list('/hatoba/v1/task/')).entries.length, 1);
  });

  it('writes under the fence, and says when it is down', async () => {
    const key = LEADER_KEY;
    const won = await store.commit({
      guards: [],
      puts: [{ key, value: Buffer.from('m') }],
      deletes: [],
    });
    const fence = { key, createRevision: won };
    const plan = (id: string): Plan => ({
      groups: [[{ action: 'create', kind: 'node', object: aNode({ id }) }]],
    });
    await applyPlan(store, plan('n1'), { clock, fence });
    assert.equal((await applyPlan(store, plan('n1'), { clock, fence })).conflicts, 1);
    await store.commit({ guards: [], puts: [], deletes: [key] });
    await assert.rejects(
      applyPlan(store, plan('n2'), { clock, fence }),
      (e) => kindOf(e) === 'conflict',
    );
    assert.equal(await store.get('/hatoba/v1/node/n2'), undefined);
  });

  it('writes the other transactions when the outcome of one is not known, and says so', async () => {
    setUp({ commitFault: () => (commits.length === 2 ? 'lost' : 'none') });
    const groups = Array.from({ length: 300 }, (_, i): Change[] => [
      { action: 'create', kind: 'task', object: aTask({ slot: i + 1 }) },
    ]);
    await assert.rejects(apply(groups), (e) => kindOf(e) === 'unavailable');
    assert.equal((await store.list('/hatoba/v1/task/')).entries.length, 172);
  });

  it('writes a large plan in parts, and no more of it once the outcome of one is not known', async () => {
    const groups = Array.from({ length: 4100 }, (_, i) => [
      create(aService({ id: `id-${i}`, spec: { name: `s${i}` } })),
    ]);
    let made = 0;
    setUp({ commitFault: () => (++made === 3 ? 'lost' : 'none') });
    await assert.rejects(apply(groups), (error: Error) => kindOf(error) === 'unavailable');
    const { entries } = await store.list('/hatoba/v1/service/');
    assert.ok(entries.length < 2000 && entries.length > 1500, `${entries.length} are there`);
    setUp();
    assert.equal((await apply(groups)).conflicts, 0);
    assert.equal((await store.list('/hatoba/v1/service/')).entries.length, 4100);
  });

  it('refuses to update what was never read', async () => {
    const object = aNetwork({ version: 0 });
    await assert.rejects(apply([[{ action: 'update', kind: 'network', object }]]), HatobaError);
  });

  it('does nothing for an empty plan', async () => {
    assert.deepEqual(await apply([[], []]), { revision: 0, conflicts: 0 });
    assert.deepEqual(commits, []);
  });
});

describe('packBatches', () => {
  const batch = (guards: number, puts: number, bytes = 1, name = ''): Transaction => ({
    guards: Array.from({ length: guards }, (_, i) => ({ key: `g${name}${i}`, revision: 1 })),
    puts: Array.from({ length: puts }, (_, i) => ({
      key: `p${name}${i}`,
      value: new Uint8Array(bytes),
    })),
    deletes: [],
  });

  it('keeps all groups, in order, within every limit of a transaction (property)', () => {
    const group = fc.record({
      guards: fc.integer({ min: 0, max: 100 }),
      puts: fc.integer({ min: 1, max: 100 }),
      bytes: fc.constantFrom(1, 1000, 10_000),
    });
    fc.assert(
      fc.property(
        fc.array(group, { maxLength: 40 }),
        fc.integer({ min: 0, max: 5 }),
        (groups, shared) => {
          const batches = groups.map((g, i) => batch(g.guards, g.puts, g.bytes, `${i}-`));
          const packed = packBatches(batches, shared);
          assert.deepEqual(packed.flat(), batches);
          for (const transaction of packed) {
            const all = toBatch(transaction);
            assert.ok(all.guards.length + shared <= MAX_OPERATIONS);
            assert.ok(all.puts.length <= MAX_OPERATIONS);
            assert.ok(all.puts.reduce((sum, p) => sum + p.value.length, 0) <= MAX_BYTES);
          }
        },
      ),
    );
  });

  it('never writes one key twice in a transaction', () => {
    const same = batch(0, 1);
    assert.equal(packBatches([same, same, same], 0).length, 3);
  });

  it('refuses a group that fits nowhere', () => {
    for (const large of [batch(129, 1), batch(1, 129), batch(0, 1, MAX_BYTES + 1)]) {
      assert.throws(
        () => packBatches([large], 0),
        (e) => kindOf(e) === 'invalid-argument',
      );
    }
  });
});

describe('codec', () => {
  it('gives back what it was given, frozen, without what is filled in on read', () => {
    const service = aService({ version: 3, serviceStatus: { runningTasks: 1, desiredTasks: 2 } });
    const back = decodeObject('service', encodeObject('service', service), 7);
    assert.deepEqual(back, { ...service, version: 7, serviceStatus: undefined });
    assert.ok(Object.isFrozen(back.spec.taskTemplate.containerSpec.env));
    const node = aNode({ managerStatus: { leader: true, addr: 'a:1' } });
    assert.equal(decodeObject('node', encodeObject('node', node), 1).managerStatus?.leader, false);
  });

  it('names kind and revision of what it cannot read', () => {
    assert.throws(() => decodeObject('task', Buffer.from([255]), 12), /stored task of revision 12/);
    assert.throws(() => decodeObject('task', new Uint8Array(), 12), /task.spec is missing/);
  });
});
