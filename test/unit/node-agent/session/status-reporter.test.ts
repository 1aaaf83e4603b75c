import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { StatusReporter } from '../../../../node-agent/session/status-reporter.js';
import type { TaskStatusUpdate } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { taskStatus } from '../tasks.js';

const random = { next: () => 0, bytes: (length: number) => new Uint8Array(length) };
const say = (updates: TaskStatusUpdate[]): string =>
  updates.map((u) => `${u.taskId} ${u.status?.message ?? ''}`).join(', ');

describe('StatusReporter', () => {
  const clock = new FakeClock();
  let sent: string[];
  let refuse: (updates: TaskStatusUpdate[]) => Error | undefined;
  let stop: AbortController;
  let ended: Promise<unknown>;
  let reporter: StatusReporter;
  const send = async (updates: TaskStatusUpdate[]): Promise<void> => {
    sent.push(say(updates));
    const error = refuse(updates);
    if (error !== undefined) throw error;
    await Promise.resolve();
  };
  const run = (all: string[] = []): void => {
    stop = new AbortController();
    const statuses = new Map(all.map((id) => [id, taskStatus({ message: 'old' })]));
    ended = reporter.run(statuses, send, stop.signal).catch((error: unknown) => error);
  };
  const report = (id: string, message: string): void =>
    reporter.report(id, taskStatus({ message }));

  beforeEach(() => {
    sent = [];
    refuse = () => undefined;
    reporter = new StatusReporter({ clock, random, log: silentLogger });
  });
  afterEach(async () => {
    stop.abort();
    await ended;
    assert.equal(clock.pendingTimers, 0);
  });

  it('sends what comes within a moment in one batch, the newest of each task', async () => {
    run();
    report('t1', 'a');
    await clock.advance(10);
    report('t2', 'b');
    report('t1', 'c');
    await clock.advance(20);
    assert.deepEqual(sent, ['t1 c, t2 b']);
  });

  it('sends at once that a task has come up or ended by itself, with what waits', async () => {
    run();
    report('t1', 'a');
    await clock.advance(5);
    assert.deepEqual(sent, []);
    reporter.report('t2', taskStatus({ state: TaskState.RUNNING, message: 'up' }));
    await clock.advance(0);
    assert.deepEqual(sent, ['t1 a, t2 up']);
    reporter.report('t2', taskStatus({ state: TaskState.FAILED, message: 'down' }));
    await clock.advance(0);
    report('t1', 'b');
    await clock.advance(19);
    assert.deepEqual(sent.slice(1), ['t2 down']);
    await clock.advance(1);
    assert.deepEqual(sent.slice(2), ['t1 b']);
  });

  it('sends those of tasks that were stopped together: nobody waits for them', async () => {
    run();
    for (const id of ['t1', 't2']) {
      reporter.report(id, taskStatus({ state: TaskState.SHUTDOWN, message: 'shutdown' }));
      await clock.advance(5);
    }
    assert.deepEqual(sent, []);
    await clock.advance(20);
    assert.deepEqual(sent, ['t1 shutdown, t2 shutdown']);
  });

  it('sends together what comes while a batch is on its way', async () => {
    let answer: () => void = () => undefined;
    const sending = new Promise<void>((resolve) => {
      answer = resolve;
    });
    stop = new AbortController();
    const slowly = async (updates: TaskStatusUpdate[]): Promise<void> => {
      sent.push(say(updates));
      await sending;
    };
    ended = reporter.run(new Map(), slowly, stop.signal).catch((error: unknown) => error);
    for (const id of ['t1', 't2', 't3']) {
      reporter.report(id, taskStatus({ state: TaskState.RUNNING, message: 'up' }));
      await clock.advance(0);
    }
    assert.deepEqual(sent, ['t1 up']);
    answer();
    await clock.advance(0);
    assert.deepEqual(sent, ['t1 up', 't2 up, t3 up']);
  });

  it('begins with all statuses', async () => {
    run(['t1', 't2']);
    await clock.advance(20);
    assert.deepEqual(sent, ['t1 old, t2 old']);
  });

  it('tries a batch again, with what is newer in it', async () => {
    run();
    refuse = () => new HatobaError('unavailable', 'no leader');
    report('t1', 'a');
    report('t2', 'a');
    await clock.advance(20);
    refuse = () => undefined;
    report('t2', 'b');
    await clock.advance(1000);
    assert.deepEqual(sent, ['t1 a, t2 a', 't1 a, t2 b']);
  });

  it('does not let one bad status keep back the others', async () => {
    run();
    refuse = (updates) =>
      updates.some((u) => u.taskId === 'bad')
        ? new HatobaError('invalid-argument', 'no such state')
        : undefined;
    for (const id of ['t1', 'bad', 't2']) report(id, 'a');
    await clock.advance(1000);
    assert.deepEqual(sent, ['t1 a, bad a, t2 a', 't1 a', 'bad a', 't2 a']);
    report('t3', 'b');
    report('t1', 'b');
    await clock.advance(100);
    assert.equal(sent.at(-1), 't3 b, t1 b', 'and batches again');
  });

  it('ends with an error of the session', async () => {
    run();
    refuse = () => new HatobaError('failed-precondition', 'unknown session');
    report('t1', 'a');
    await clock.advance(20);
    assert.match(String(await ended), /unknown session/);
  });

  it('keeps a batch of a former session out of the next one', async () => {
    let fail: (error: Error) => void = () => undefined;
    stop = new AbortController();
    const first = reporter.run(
      new Map(),
      () => new Promise((_, reject) => (fail = reject)),
      stop.signal,
    );
    report('t1', 'stale');
    await clock.advance(20);
    stop.abort();
    run();
    report('t1', 'new');
    await clock.advance(20);
    fail(new HatobaError('unavailable', 'connection lost'));
    await assert.rejects(first);
    await clock.advance(1000);
    assert.deepEqual(sent, ['t1 new']);
  });
});
