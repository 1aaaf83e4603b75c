import assert from 'node:assert/strict';
import { sleep } from '../../../../common/clock.js';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import {
  ControllerRunner,
  runControllers,
  type Controller,
} from '../../../../manager/controllers/controller.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

describe('ControllerRunner', () => {
  let clock: FakeClock;
  let stop: AbortController;
  let calls: string[];
  let enqueue: (key: string) => void;
  let watching: number;
  let running: Promise<void>;
  let runner: ControllerRunner;

  const start = (reconcile: Controller['reconcile'], more: Partial<Controller> = {}): void => {
    const controller: Controller = {
      name: 'test',
      watch: (add) => {
        enqueue = add;
        watching++;
        add('there');
        return [
          () => {
            watching--;
          },
        ];
      },
      reconcile: (key, signal) => {
        calls.push(key);
        return reconcile(key, signal);
      },
      ...more,
    };
    runner = new ControllerRunner(controller, {
      clock,
      random: seededRandom(1),
      logger: silentLogger,
    });
    running = runner.run(stop.signal);
  };
  const nothing = (): Promise<void> => Promise.resolve();

  beforeEach(() => {
    clock = new FakeClock();
    stop = new AbortController();
    calls = [];
    watching = 0;
  });
  afterEach(async () => {
    stop.abort();
    await running;
    assert.equal(watching, 0);
    assert.equal(clock.pendingTimers, 0);
  });

  it('looks at what is there, and at what is enqueued', async () => {
    start(nothing);
    await clock.advance(0);
    enqueue('a');
    enqueue('b');
    enqueue('b');
    await clock.advance(0);
    assert.deepEqual(calls, ['there', 'a', 'b']);
    assert.deepEqual(
      { ...runner.metrics(), waitMs: 0, workMs: 0 },
      {
        name: 'test',
        depth: 0,
        delayed: 0,
        adds: 3,
        retries: 0,
        taken: 3,
        waitMs: 0,
        reconciles: 3,
        errors: 0,
        conflicts: 0,
        workMs: 0,
      },
    );
  });

  it('looks again when the loop asked for it', async () => {
    start(() => Promise.resolve(calls.length < 3 ? { requeueAfterMs: 1000 } : {}));
    await clock.advance(999);
    assert.equal(calls.length, 1);
    await clock.advance(5000);
    assert.equal(calls.length, 3);
  });

  it('repeats what failed, ever later, and counts it', async () => {
    start(() => Promise.reject(new Error('broken')));
    await clock.advance(60_000);
    assert.ok(calls.length > 8 && calls.length < 20, `${calls.length} calls`);
    assert.equal(runner.metrics().errors, calls.length);
  });

  it('repeats conflicts without counting them as errors', async () => {
    start(() =>
      calls.length < 3 ? Promise.reject(new HatobaError('conflict', 'stale')) : Promise.resolve(),
    );
    await clock.advance(1000);
    assert.equal(calls.length, 3);
    const { errors, conflicts } = runner.metrics();
    assert.deepEqual({ errors, conflicts }, { errors: 0, conflicts: 2 });
  });

  it('enqueues everything again at each resync', async () => {
    start(nothing, { resyncMs: 1000 });
    await clock.advance(3500);
    assert.equal(calls.length, 4);
    assert.equal(watching, 1);
  });

  it('works on several keys at once, and never twice on one', async () => {
    let atOnce = 0;
    let most = 0;
    const inWork = new Set<string>();
    start(
      async (key) => {
        assert.ok(!inWork.has(key));
        inWork.add(key);
        most = Math.max(most, ++atOnce);
        await sleep(clock, 10);
        atOnce--;
        inWork.delete(key);
      },
      { workers: 3 },
    );
    for (let i = 0; i < 10; i++) {
      for (const key of ['a', 'b', 'c', 'd']) enqueue(key);
      await clock.advance(7);
    }
    await clock.advance(100);
    assert.equal(most, 3);
    assert.equal(runner.metrics().errors, 0);
  });

  it('waits for the reconcile under way when it ends, and starts no other', async () => {
    let ended = false;
    start(async () => {
      await sleep(clock, 1000);
      ended = true;
      throw new Error('too late to matter');
    });
    await clock.advance(10);
    enqueue('a');
    stop.abort();
    let isDone = false;
    void running.then(() => {
      isDone = true;
    });
    await clock.advance(500);
    assert.equal(isDone, false);
    await clock.advance(600);
    assert.deepEqual([isDone, ended, calls], [true, true, ['there']]);
    assert.equal(runner.metrics().errors, 0);
  });

  it('runs several controllers until the signal, and hands out their runners', async () => {
    const seen: string[] = [];
    const named = (name: string): Controller => ({
      name,
      watch: (add) => {
        add('x');
        return [];
      },
      reconcile: () => {
        seen.push(name);
        return Promise.resolve();
      },
    });
    let names: string[] = [];
    running = runControllers(
      [named('a'), named('b')],
      { clock, random: seededRandom(1), logger: silentLogger },
      stop.signal,
      (runners) => {
        names = runners.map((r) => r.metrics().name);
      },
    );
    await clock.advance(0);
    assert.deepEqual(
      [seen, names],
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
    );
  });
});
