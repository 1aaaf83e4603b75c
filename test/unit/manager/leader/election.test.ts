import assert from 'node:assert/strict';
import { sleep } from '../../../../common/clock.js';
import { kindOf } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { Election, type Leadership } from '../../../../manager/leader/election.js';
import { LEADER_KEY } from '../../../../manager/store/keys.js';
import { MemoryStore, type MemoryStoreOptions } from '../../../../manager/store/memory-store.js';
import type { Store } from '../../../../manager/store/store.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

/** A manager that counts its terms and leads until told otherwise. */
class Candidate {
  readonly election: Election;
  readonly terms: Leadership[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(nodeId: string, modules: { store: Store; clock: FakeClock }, seed: number) {
    this.election = new Election(
      { ...modules, random: seededRandom(seed), logger: silentLogger },
      { nodeId, ttlMs: 3000 },
    );
    this.#done = this.election.run(async (leadership) => {
      this.terms.push(leadership);
      await sleep(modules.clock, 1e9, leadership.signal).catch(() => undefined);
    }, this.#stop.signal);
  }

  get isLeading(): boolean {
    return this.election.current?.signal.aborted === false;
  }

  stop(): Promise<void> {
    this.#stop.abort(new Error('stopping'));
    return this.#done;
  }
}

describe('Election', () => {
  let clock: FakeClock;
  let store: MemoryStore;
  let candidates: Candidate[];

  const setUp = (options: MemoryStoreOptions = {}): void => {
    clock = new FakeClock();
    store = new MemoryStore({ clock }, options);
    candidates = [];
  };
  const start = (nodeId: string, through: Store = store): Candidate => {
    const modules = { store: through, clock };
    const candidate = new Candidate(nodeId, modules, candidates.length + 1);
    candidates.push(candidate);
    return candidate;
  };
  const write = (leadership: Leadership | undefined): Promise<number> =>
    store.commit({
      guards: leadership === undefined ? [] : [leadership.fence],
      puts: [{ key: '/x', value: new Uint8Array() }],
      deletes: [],
    });
  beforeEach(() => setUp());
  afterEach(async () => {
    await Promise.all(candidates.map((c) => c.stop()));
    await store[Symbol.asyncDispose]();
    assert.equal(clock.pendingTimers, 0);
  });

  it('has one leader of three, whose name is in the store', async () => {
    const all = ['m1', 'm2', 'm3'].map((id) => start(id));
    await clock.advance(1000);
    const leading = all.filter((c) => c.isLeading);
    assert.equal(leading.length, 1);
    assert.equal(Buffer.from((await store.get(LEADER_KEY))?.value ?? []).toString(), 'm1');
    await clock.advance(60_000);
    assert.deepEqual(
      all.map((c) => c.terms.length),
      [1, 0, 0],
    );
  });

  it('hands over at once when the leader stops', async () => {
    const [first, second] = [start('m1'), start('m2')];
    await clock.advance(1000);
    await first.stop();
    await clock.advance(50);
    assert.equal(second.isLeading, true);
  });

  it('deposes a leader whose key is gone, and refuses its commits at once', async () => {
    const [first, second] = [start('m1'), start('m2')];
    await clock.advance(1000);
    const [former] = first.terms;
    assert.ok(former !== undefined);
    await write(former);
    await store.commit({ guards: [], puts: [], deletes: [LEADER_KEY] });
    await clock.advance(50);
    assert.equal(second.isLeading, true);
    await assert.rejects(write(former), (e) => kindOf(e) === 'conflict');
    await write(second.election.current);
    await clock.advance(3000);
    assert.equal(former.signal.aborted, true);
    assert.equal(first.isLeading, false);
  });

  it('gives up by its own clock when the store does not answer', async () => {
    const answers: (() => void)[] = [];
    let isDeaf = false;
    const get: MemoryStore['get'] = async (key) => {
      if (isDeaf) await new Promise<void>((resolve) => answers.push(resolve));
      return memory.get(key);
    };
    const memory = store;
    const deaf: Store = {
      get,
      list: (prefix) => memory.list(prefix),
      watch: (prefix, revision, handler) => memory.watch(prefix, revision, handler),
      commit: (transaction) => memory.commit(transaction),
      grantLease: (ttlMs) => memory.grantLease(ttlMs),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    const first = start('m1', deaf);
    await clock.advance(100);
    isDeaf = true;
    await clock.advance(2000);
    assert.equal(first.terms[0]?.signal.aborted, false);
    await clock.advance(2000);
    assert.equal(first.isLeading, false);
    isDeaf = false;
    for (const answer of answers) answer();
    await clock.advance(3000);
    assert.equal(first.terms.length, 2);
  });

  it('takes over its own key of a former process without waiting for the lease', async () => {
    const lease = await store.grantLease(3000);
    const puts = [{ key: LEADER_KEY, value: Buffer.from('m1'), leaseId: lease.id }];
    await store.commit({ guards: [], puts, deletes: [] });
    const first = start('m1');
    await clock.advance(10);
    assert.equal(first.isLeading, true);
  });

  it('waits for the lease of another that died', async () => {
    const lease = await store.grantLease(3000);
    const puts = [{ key: LEADER_KEY, value: Buffer.from('m9'), leaseId: lease.id }];
    await store.commit({ guards: [], puts, deletes: [] });
    const first = start('m1');
    await clock.advance(2900);
    assert.equal(first.isLeading, false);
    await clock.advance(150);
    assert.equal(first.isLeading, true);
  });

  it('leads in the end when the answer to its campaign was lost', async () => {
    let faults = 1;
    setUp({ commitFault: () => (faults-- > 0 ? 'applied' : 'none') });
    const first = start('m1');
    await clock.advance(500);
    assert.equal(first.isLeading, true);
    await write(first.election.current);
  });

  it('resigns when leading fails, and tries again', async () => {
    const stop = new AbortController();
    const election = new Election(
      { store, clock, random: seededRandom(1), logger: silentLogger },
      { nodeId: 'm1' },
    );
    let terms = 0;
    const running = election.run(() => {
      terms++;
      return Promise.reject(new Error('no'));
    }, stop.signal);
    await clock.advance(10_000);
    assert.ok(terms > 2, `${terms} terms`);
    assert.ok(terms < 20, `${terms} terms`);
    stop.abort();
    await running;
  });
});
