import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Context } from 'mocha';
import { kindOf } from '../../common/errors.js';
import { decodeObject } from '../../manager/store/codec.js';
import { keyOf } from '../../manager/store/keys.js';
import type { Guard, Store, StoreEvent, Transaction } from '../../manager/store/store.js';
import { applyPlan } from '../../manager/store/write.js';
import { aRevision, aService } from '../support/builders.js';
import { eventually } from '../support/eventually.js';

/** What a store brings to the suite. */
export interface StoreUnderTest {
  store: Store;
  /** Forgets the history before the present. */
  compact(): Promise<void>;
  /** Lets a lease of `ttlMs` run out. */
  passTime(ttlMs: number): Promise<void>;
}

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();

const put = (key: string, value: string, guards: Guard[] = []): Transaction => ({
  guards,
  puts: [{ key, value: Buffer.from(value) }],
  deletes: [],
});

/** What a watch heard, in a form that compares. */
class Heard {
  readonly revisions: { revision: number; events: string[] }[] = [];
  readonly lost: string[] = [];

  onEvents(revision: number, events: readonly StoreEvent[]): void {
    const words = events.map((e) =>
      e.type === 'put' ? `${e.entry.key}=${text(e.entry.value) ?? ''}` : `-${e.key}`,
    );
    this.revisions.push({ revision, events: words.sort() });
  }
  onLost(reason: Error): void {
    this.lost.push(reason.message);
  }
  get words(): string[][] {
    return this.revisions.map((r) => r.events);
  }
}

/** The contract of the Store port; every implementation must pass all of it. */
export function describeStore(
  name: string,
  open: (this: Context) => Promise<StoreUnderTest>,
): void {
  describe(`${name} as a Store`, function () {
    let under: StoreUnderTest;
    let store: Store;
    let prefix = '';
    let tests = 0;

    before(async function () {
      under = await open.call(this);
      store = under.store;
    });
    beforeEach(() => {
      prefix = `/t${++tests}/`;
    });
    after(async () => {
      await (under as StoreUnderTest | undefined)?.store[Symbol.asyncDispose]();
    });

    it('gets and lists what was put, in order of keys, with the revision of the last write', async () => {
      const first = await store.commit(put(`${prefix}b`, '1'));
      const second = await store.commit(put(`${prefix}a`, '2'));
      const third = await store.commit(put(`${prefix}b`, '3'));
      assert.ok(first < second && second < third);
      const { revision, entries } = await store.list(prefix);
      assert.equal(revision, third);
      assert.deepEqual(
        entries.map((e) => [e.key, text(e.value), e.revision]),
        [
          [`${prefix}a`, '2', second],
          [`${prefix}b`, '3', third],
        ],
      );
      assert.equal((await store.get(`${prefix}b`))?.revision, third);
      assert.equal(await store.get(`${prefix}none`), undefined);
    });

    it('lists only keys under the prefix, also beside its end', async () => {
      await store.commit(put(`${prefix}x/1`, '1'));
      await store.commit(put(`${prefix}x0`, '2'));
      const { entries } = await store.list(`${prefix}x/`);
      assert.deepEqual(
        entries.map((e) => e.key),
        [`${prefix}x/1`],
      );
    });

    it('lists more keys than fit into one page', async () => {
      const keys = Array.from({ length: 4100 }, (_, i) => `${prefix}${String(i).padStart(5, '0')}`);
      for (let i = 0; i < keys.length; i += 128) {
        await store.commit({
          guards: [],
          puts: keys.slice(i, i + 128).map((key) => ({ key, value: Buffer.from('v') })),
          deletes: [],
        });
      }
      const { entries } = await store.list(prefix);
      assert.deepEqual(
        entries.map((e) => e.key),
        keys,
      );
    });

    it('keeps bytes and empty values as they are', async () => {
      const value = Uint8Array.from([0, 255, 10, 128]);
      await store.commit({
        guards: [],
        puts: [
          { key: `${prefix}bytes`, value: value.subarray(1, 3) },
          { key: `${prefix}empty`, value: new Uint8Array() },
        ],
        deletes: [],
      });
      assert.deepEqual([...((await store.get(`${prefix}bytes`))?.value ?? [])], [255, 10]);
      assert.deepEqual([...((await store.get(`${prefix}empty`))?.value ?? [1])], []);
    });

    describe('guards', () => {
      const holds: { name: string; guard: (r: { created: number; written: number }) => Guard }[] = [
        { name: 'the last revision', guard: (r) => ({ key: 'k', revision: r.written }) },
        {
          name: 'the revision of creation',
          guard: (r) => ({ key: 'k', createRevision: r.created }),
        },
        { name: 'absence', guard: () => ({ key: 'none', revision: 0 }) },
        { name: 'absence, by creation', guard: () => ({ key: 'none', createRevision: 0 }) },
      ];
      const fails: typeof holds = [
        { name: 'an older revision', guard: (r) => ({ key: 'k', revision: r.created }) },
        { name: 'another creation', guard: (r) => ({ key: 'k', createRevision: r.written }) },
        { name: 'absence of what is there', guard: () => ({ key: 'k', revision: 0 }) },
        { name: 'presence of what is not', guard: (r) => ({ key: 'none', revision: r.written }) },
      ];
      const run = async (guard: (typeof holds)[number]['guard']): Promise<number> => {
        const created = await store.commit(put(`${prefix}k`, '1'));
        const written = await store.commit(put(`${prefix}k`, '2'));
        const { key, ...rest } = guard({ created, written });
        return store.commit(put(`${prefix}out`, 'x', [{ key: `${prefix}${key}`, ...rest }]));
      };
      for (const { name: case_, guard } of holds) {
        it(`commit when ${case_} holds`, async () => {
          const revision = await run(guard);
          assert.equal((await store.get(`${prefix}out`))?.revision, revision);
        });
      }
      for (const { name: case_, guard } of fails) {
        it(`refuse ${case_} as a conflict, and write nothing`, async () => {
          await assert.rejects(run(guard), (e) => kindOf(e) === 'conflict');
          assert.equal(await store.get(`${prefix}out`), undefined);
        });
      }
      it('of a key that was deleted and made again know its new creation', async () => {
        const first = await store.commit(put(`${prefix}k`, '1'));
        await store.commit({ guards: [], puts: [], deletes: [`${prefix}k`] });
        const again = await store.commit(put(`${prefix}k`, '2'));
        await assert.rejects(
          store.commit(put(`${prefix}o`, 'x', [{ key: `${prefix}k`, createRevision: first }])),
          (e) => kindOf(e) === 'conflict',
        );
        await store.commit(put(`${prefix}o`, 'x', [{ key: `${prefix}k`, createRevision: again }]));
      });
    });

    it('applies a transaction whole or not at all', async () => {
      const revision = await store.commit(put(`${prefix}a`, '1'));
      const both = (guards: Guard[]): Transaction => ({
        guards,
        puts: [{ key: `${prefix}b`, value: Buffer.from('2') }],
        deletes: [`${prefix}a`],
      });
      await assert.rejects(
        store.commit(
          both([
            { key: `${prefix}a`, revision },
            { key: `${prefix}c`, revision: 7 },
          ]),
        ),
        (e) => kindOf(e) === 'conflict',
      );
      assert.deepEqual(
        (await store.list(prefix)).entries.map((e) => e.key),
        [`${prefix}a`],
      );
      await store.commit(both([{ key: `${prefix}a`, revision }]));
      assert.deepEqual(
        (await store.list(prefix)).entries.map((e) => e.key),
        [`${prefix}b`],
      );
    });

    it('takes 128 guards and 128 writes, and refuses more', async () => {
      const keys = Array.from({ length: 129 }, (_, i) => `${prefix}${i}`);
      const transaction = (count: number): Transaction => ({
        guards: keys.slice(0, count).map((key) => ({ key, revision: 0 })),
        puts: keys.slice(0, count).map((key) => ({ key, value: Buffer.from('x') })),
        deletes: [],
      });
      await assert.rejects(store.commit(transaction(129)), (e) => kindOf(e) === 'invalid-argument');
      await store.commit(transaction(128));
      assert.equal((await store.list(prefix)).entries.length, 128);
    });

    it('refuses to write one key twice in a transaction', async () => {
      const value = Buffer.from('x');
      await assert.rejects(
        store.commit({ guards: [], puts: [{ key: `${prefix}a`, value }], deletes: [`${prefix}a`] }),
        (e) => kindOf(e) === 'invalid-argument',
      );
    });

    it('tells a watch of everything after its revision, a transaction at a time, in order', async () => {
      await store.commit(put(`${prefix}old`, '0'));
      const { revision } = await store.list(prefix);
      const early = await store.commit(put(`${prefix}a`, '1'));
      const heard = new Heard();
      const watch = await store.watch(prefix, revision, heard);
      const both = await store.commit({
        guards: [],
        puts: ['b', 'c'].map((k) => ({ key: prefix + k, value: Buffer.from('2') })),
        deletes: [`${prefix}old`],
      });
      const last = await store.commit(put(`${prefix}a`, '3'));
      await eventually(() => assert.equal(heard.revisions.at(-1)?.revision, last));
      assert.deepEqual(heard.revisions, [
        { revision: early, events: [`${prefix}a=1`] },
        { revision: both, events: [`-${prefix}old`, `${prefix}b=2`, `${prefix}c=2`].sort() },
        { revision: last, events: [`${prefix}a=3`] },
      ]);
      await watch.close();
    });

    it('tells a watch nothing of other prefixes, of conflicts, or of deletes of nothing', async () => {
      const { revision } = await store.list(prefix);
      const heard = new Heard();
      const watch = await store.watch(`${prefix}in/`, revision, heard);
      await store.commit(put(`${prefix}out`, '1'));
      await store.commit({ guards: [], puts: [], deletes: [`${prefix}in/none`] });
      await assert.rejects(
        store.commit(put(`${prefix}in/a`, '1', [{ key: `${prefix}no`, revision: 5 }])),
      );
      await store.commit({
        guards: [],
        puts: ['out', 'in/end'].map((k) => ({ key: prefix + k, value: Buffer.from('2') })),
        deletes: [],
      });
      await eventually(() => assert.ok(heard.revisions.length > 0));
      assert.deepEqual(heard.words, [[`${prefix}in/end=2`]]);
      await watch.close();
    });

    it('tells a closed watch nothing more', async () => {
      const { revision } = await store.list(prefix);
      const closed = new Heard();
      const open_ = new Heard();
      const watch = await store.watch(prefix, revision, closed);
      const other = await store.watch(prefix, revision, open_);
      await store.commit(put(`${prefix}a`, '1'));
      await eventually(() => assert.equal(closed.revisions.length, 1));
      await watch.close();
      await watch.close();
      await store.commit(put(`${prefix}a`, '2'));
      await eventually(() => assert.equal(open_.revisions.length, 2));
      assert.deepEqual(closed.words, [[`${prefix}a=1`]]);
      assert.deepEqual(closed.lost, []);
      await other.close();
    });

    it('says once that a watch is lost when its history was compacted', async () => {
      const { revision } = await store.list(prefix);
      for (const value of ['1', '2', '3']) await store.commit(put(`${prefix}a`, value));
      await under.compact();
      const heard = new Heard();
      await store.watch(prefix, revision, heard);
      await eventually(() => assert.equal(heard.lost.length, 1));
      await store.commit(put(`${prefix}a`, '4'));
      const { revision: now } = await store.list(prefix);
      const again = new Heard();
      const watch = await store.watch(prefix, now, again);
      await store.commit(put(`${prefix}a`, '5'));
      await eventually(() => assert.equal(again.revisions.length, 1));
      assert.equal(heard.lost.length, 1);
      assert.deepEqual(heard.revisions, []);
      await watch.close();
    });

    it('lets exactly one of many rivals create a key', async () => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          store.commit(put(`${prefix}k`, String(i), [{ key: `${prefix}k`, revision: 0 }])),
        ),
      );
      assert.equal(outcomes.filter((o) => o.status === 'fulfilled').length, 1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.equal(kindOf(outcome.reason), 'conflict');
      }
    });

    it('loses no increment of rivals that repeat on conflict', async () => {
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await store.get(`${prefix}n`);
          const next = String(Number(text(entry?.value) ?? '0') + 1);
          try {
            const revision = entry?.revision ?? 0;
            await store.commit(put(`${prefix}n`, next, [{ key: `${prefix}n`, revision }]));
            return;
          } catch (error) {
            if (kindOf(error) !== 'conflict') throw error;
          }
        }
      };
      await Promise.all(
        Array.from({ length: 5 }, async () => {
          for (let i = 0; i < 8; i++) await increment();
        }),
      );
      assert.equal(text((await store.get(`${prefix}n`))?.value), '40');
    });

    it('drops the keys of a lease when it is revoked, and refuses it from then on', async () => {
      const lease = await store.grantLease(5000);
      assert.ok(lease.ttlMs >= 5000);
      const key = `${prefix}k`;
      const value = Buffer.from('1');
      await store.commit({ guards: [], puts: [{ key, value, leaseId: lease.id }], deletes: [] });
      await lease.renew();
      assert.equal(text((await store.get(key))?.value), '1');
      await lease.revoke();
      await lease.revoke();
      assert.equal(await store.get(key), undefined);
      await assert.rejects(lease.renew(), (e) => kindOf(e) === 'not-found');
      await assert.rejects(
        store.commit({ guards: [], puts: [{ key, value, leaseId: lease.id }], deletes: [] }),
        (e) => kindOf(e) === 'not-found',
      );
    });

    it('drops the keys of a lease that runs out, and tells watches', async () => {
      const { revision } = await store.list(prefix);
      const heard = new Heard();
      const watch = await store.watch(prefix, revision, heard);
      const lease = await store.grantLease(2000);
      const puts = [{ key: `${prefix}k`, value: Buffer.from('1'), leaseId: lease.id }];
      await store.commit({ guards: [], puts, deletes: [] });
      await under.passTime(lease.ttlMs);
      await eventually(() => assert.equal(heard.revisions.length, 2));
      assert.deepEqual(heard.words, [[`${prefix}k=1`], [`-${prefix}k`]]);
      await watch.close();
    });

    it('keeps the history of a service: of two writers of one revision one is told to look again', async () => {
      const service = aService({ id: `id${prefix.replaceAll('/', '-')}` });
      const revision = aRevision(service, { cause: 'created' });
      const clock = { nowMs: () => 5, setTimer: () => () => undefined };
      const create = (cause: string): ReturnType<typeof applyPlan> =>
        applyPlan(
          store,
          { groups: [[{ action: 'create', kind: 'revision', object: { ...revision, cause } }]] },
          { clock },
        );
      const outcomes = await Promise.all([create('first'), create('second')]);
      const cause = outcomes[0].conflicts === 0 ? 'first' : 'second';
      assert.deepEqual(outcomes.map((o) => o.conflicts).sort(), [0, 1]);
      const key = keyOf('revision', revision);
      const { entries } = await store.list(`/hatoba/v1/revision/${service.id}/`);
      assert.deepEqual(
        entries.map((e) => [e.key, decodeObject('revision', e.value, 9)]),
        [[key, { ...revision, version: 9, updatedAtMs: 5, cause }]],
      );
      await store.commit({ guards: [], puts: [], deletes: [key] });
    });

    it('is one line of versions: each commit sees exactly those before it (property)', async () => {
      const keys = ['a', 'b', 'c'];
      const step = fc.record({
        key: fc.constantFrom(...keys),
        action: fc.constantFrom('put', 'delete'),
        fresh: fc.boolean(),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          const base = `${prefix}${++tests}/`;
          const { revision: start } = await store.list(base);
          const heard = new Heard();
          const watch = await store.watch(base, start, heard);
          const model = new Map<string, { value: string; revision: number }>();
          const expected: string[][] = [];
          for (const [i, { key, action, fresh }] of steps.entries()) {
            const name = base + key;
            const revision = (model.get(name)?.revision ?? 0) + (fresh ? 0 : 1);
            const transaction: Transaction = {
              guards: [{ key: name, revision }],
              puts: action === 'put' ? [{ key: name, value: Buffer.from(String(i)) }] : [],
              deletes: action === 'delete' ? [name] : [],
            };
            if (!fresh) {
              await assert.rejects(store.commit(transaction), (e) => kindOf(e) === 'conflict');
              continue;
            }
            const written = await store.commit(transaction);
            if (action === 'put') {
              model.set(name, { value: String(i), revision: written });
              expected.push([`${name}=${i}`]);
            } else if (model.delete(name)) {
              expected.push([`-${name}`]);
            }
          }
          const { entries } = await store.list(base);
          assert.deepEqual(
            entries.map((e) => [e.key, text(e.value), e.revision]),
            [...model].map(([k, v]) => [k, v.value, v.revision]).sort(),
          );
          await eventually(() => assert.equal(heard.words.length, expected.length));
          assert.deepEqual(heard.words, expected);
          await watch.close();
        }),
        { numRuns: 25 },
      );
    });
  });
}
