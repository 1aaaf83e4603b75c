import assert from 'node:assert/strict';
import { Alarm } from '../../../common/alarm.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('Alarm', () => {
  let clock: FakeClock;
  let alarm: Alarm;
  let stop: AbortController;
  beforeEach(() => {
    clock = new FakeClock();
    alarm = new Alarm(clock);
    stop = new AbortController();
  });
  afterEach(() => assert.equal(clock.pendingTimers, 0));

  /** When the sleep ended, from now. */
  async function sleptMs(delayMs: number): Promise<number> {
    const startMs = clock.nowMs();
    await alarm.sleep(delayMs, stop.signal);
    return clock.nowMs() - startMs;
  }

  it('lets sleep for the whole time when it does not ring', async () => {
    const slept = sleptMs(50);
    await clock.advance(100);
    assert.equal(await slept, 50);
  });

  it('ends a sleep', async () => {
    const slept = sleptMs(50);
    await clock.advance(10);
    alarm.ring();
    assert.equal(await slept, 10);
  });

  it('ends a sleep before it begins, until it is cleared', async () => {
    alarm.ring();
    assert.equal(await sleptMs(50), 0);
    assert.equal(await sleptMs(50), 0);
    alarm.clear();
    const slept = sleptMs(50);
    await clock.advance(50);
    assert.equal(await slept, 50);
  });

  it('is no sleep without a time', async () => {
    assert.equal(await sleptMs(0), 0);
    assert.equal(await sleptMs(-5), 0);
  });

  it('a sleeper that is to stop hears why', async () => {
    const slept = sleptMs(50);
    await clock.advance(10);
    stop.abort(new Error('enough'));
    await assert.rejects(slept, /enough/);
    await assert.rejects(sleptMs(50), /enough/);
  });
});
