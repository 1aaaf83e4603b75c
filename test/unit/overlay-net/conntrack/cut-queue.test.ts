import assert from 'node:assert/strict';
import { sleep } from '../../../../common/clock.js';
import { CutQueue } from '../../../../overlay-net/conntrack/cut-queue.js';
import { FakeClock } from '../../../support/fake-clock.js';

const LOOK_MS = 10;
const REST_MS = 4 * LOOK_MS;

describe('CutQueue', () => {
  let clock: FakeClock;
  let queue: CutQueue;
  /** When each look began, and what for. */
  let looks: string[];

  beforeEach(() => {
    clock = new FakeClock();
    looks = [];
    const startMs = clock.nowMs();
    const cut = async (addresses: readonly string[]): Promise<void> => {
      looks.push(`${clock.nowMs() - startMs}: ${addresses.join(' ')}`);
      await sleep(clock, LOOK_MS);
    };
    queue = new CutQueue(cut, clock);
  });

  /** Whether it has resolved once `ms` have passed. */
  async function isDone(promise: Promise<void>, ms: number): Promise<boolean> {
    let done = false;
    void promise.then(() => (done = true));
    await clock.advance(ms);
    return done;
  }

  it('rests after a look for some times as long as that took, and does the next together', async () => {
    queue.add(['a']);
    queue.add(['b']);
    await clock.advance(LOOK_MS + REST_MS - 1);
    assert.deepEqual(looks, ['0: a']);
    queue.add(['c', 'b']);
    await clock.advance(1);
    assert.deepEqual(looks, ['0: a', '50: b c']);
  });

  it('is done when all that was asked for so far is cut', async () => {
    assert.equal(await isDone(queue.done(), 0), true);
    queue.add(['a']);
    const first = queue.done();
    queue.add(['b']);
    const second = queue.done();
    assert.equal(await isDone(first, LOOK_MS), true);
    assert.equal(await isDone(second, REST_MS + LOOK_MS - 1), false);
    assert.equal(await isDone(second, 1), true);
    assert.equal(await isDone(queue.done(), 0), true);
  });

  it('settles what is asked for without a rest, and waits for nothing else', async () => {
    queue.add(['a']);
    queue.add(['b']);
    assert.equal(await isDone(queue.settle(['x']), 0), true);
    const [a, b] = [queue.settle(['a']), queue.settle(['x', 'b'])];
    assert.equal(await isDone(a, LOOK_MS - 1), false);
    assert.equal(await isDone(a, 1), true);
    assert.equal(await isDone(b, LOOK_MS - 1), false);
    assert.equal(await isDone(b, 1), true);
    assert.deepEqual(looks, ['0: a', '10: b']);
    assert.equal(await isDone(queue.settle(['a', 'b']), 0), true);
  });

  it('settles during a rest, and rests again after the next look', async () => {
    queue.add(['a']);
    queue.add(['b']);
    await clock.advance(LOOK_MS + 5);
    void queue.settle(['b']);
    await clock.advance(LOOK_MS);
    queue.add(['c']);
    await clock.advance(REST_MS);
    assert.deepEqual(looks, ['0: a', '15: b', '65: c']);
  });
});
