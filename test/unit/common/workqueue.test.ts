import assert from 'node:assert/strict';
import fc from 'fast-check';
import { WorkQueue } from '../../../common/workqueue.js';
import { FakeClock } from '../../support/fake-clock.js';
import { seededRandom } from '../../support/seeded-random.js';

describe('WorkQueue', () => {
  let clock: FakeClock;
  let queue: WorkQueue;

  beforeEach(() => {
    clock = new FakeClock();
    queue = new WorkQueue(
      { clock, random: seededRandom(1) },
      { baseDelayMs: 100, maxDelayMs: 1000 },
    );
  });
  afterEach(() => {
    queue.close();
    assert.equal(clock.pendingTimers, 0);
  });

  it('gives each key once, in order', async () => {
    for (const key of ['a', 'b', 'a', 'c']) queue.add(key);
    assert.deepEqual([await queue.take(), await queue.take(), await queue.take()], ['a', 'b', 'c']);
    assert.equal(queue.metrics().depth, 0);
  });

  it('gives a key again only after done, and then once', async () => {
    queue.add('a');
    assert.equal(await queue.take(), 'a');
    queue.add('a');
    queue.add('a');
    queue.add('b');
    assert.equal(await queue.take(), 'b');
    queue.done('a');
    assert.equal(await queue.take(), 'a');
    queue.done('a');
    assert.equal(queue.metrics().depth, 0);
  });

  it('lets takers wait, and lets them go when it is closed', async () => {
    const first = queue.take();
    const second = queue.take();
    queue.add('a');
    assert.equal(await first, 'a');
    queue.close();
    assert.equal(await second, undefined);
    queue.add('b');
    queue.addAfter('b', 10);
    assert.equal(await queue.take(), undefined);
  });

  it('counts the earliest of several delays', async () => {
    queue.addAfter('a', 500);
    queue.addAfter('a', 200);
    queue.addAfter('a', 900);
    await clock.advance(199);
    assert.equal(queue.metrics().depth, 0);
    await clock.advance(1);
    assert.equal(queue.metrics().depth, 1);
    assert.equal(await queue.take(), 'a');
    queue.done('a');
    await clock.advance(1000);
    assert.equal(queue.metrics().depth, 0);
  });

  it('delays failures longer and longer, up to a limit, until forget', async () => {
    const delays: number[] = [];
    for (let i = 0; i < 6; i++) {
      if (i === 5) queue.forget('a');
      const startMs = clock.nowMs();
      queue.addRateLimited('a');
      while (queue.metrics().depth === 0) await clock.advance(1);
      delays.push(clock.nowMs() - startMs);
      await queue.take();
      queue.done('a');
    }
    for (const [i, ceiling] of [100, 200, 400, 800, 1000, 100].entries()) {
      const delay = delays[i] ?? 0;
      assert.ok(delay >= ceiling / 2 && delay <= ceiling, `${delay} of ${ceiling}`);
    }
  });

  it('never gives one key to two takers and loses no add (property)', async () => {
    const step = fc.record({
      action: fc.constantFrom('add', 'addAfter', 'take', 'done', 'tick'),
      key: fc.constantFrom('a', 'b', 'c'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const now = new FakeClock();
        const under = new WorkQueue({ clock: now, random: seededRandom(1) });
        const working = new Set<string>();
        const owed = new Set<string>();
        const asked = new Set<string>();
        const take = async (): Promise<void> => {
          if (under.metrics().depth === 0) return;
          const key = (await under.take()) ?? '';
          assert.ok(!working.has(key), `${key} is worked on twice`);
          assert.ok(asked.has(key), `${key} was not asked for`);
          working.add(key);
          owed.delete(key);
        };
        const done = (key: string): void => {
          if (working.delete(key)) under.done(key);
        };
        for (const { action, key } of steps) {
          if (action === 'add') under.add(key);
          if (action === 'addAfter') under.addAfter(key, 50);
          if (action === 'add' || action === 'addAfter') {
            owed.add(key);
            asked.add(key);
          }
          if (action === 'take') await take();
          if (action === 'done') done(key);
          if (action === 'tick') await now.advance(60);
        }
        await now.advance(100);
        for (let round = 0; round < 4; round++) {
          for (const key of [...working]) done(key);
          while (under.metrics().depth > 0) await take();
        }
        assert.deepEqual([...owed], []);
        under.close();
      }),
      { numRuns: 100 },
    );
  });
});
