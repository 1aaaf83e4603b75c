import assert from 'node:assert/strict';
import { judgeService, Steadiness } from '../../../cli/converge.js';
import type { Service, Task } from '../../../common/model/objects.js';
import { TaskState, UpdateState, UpdateStatus } from '../../../proto/gen/hatoba/v1/types.js';
import { aService, aTask } from '../../support/builders.js';

const NOW = 1_700_000_100_000;

function service(running: number, desired: number, update?: Partial<UpdateStatus>): Service {
  const base = aService({ spec: { name: 'web' } });
  const none = UpdateStatus.fromPartial({});
  return {
    ...base,
    serviceStatus: { runningTasks: running, desiredTasks: desired, completedTasks: 0 },
    updateStatus: update === undefined ? undefined : { ...none, ...update },
  };
}

function task(
  state: TaskState,
  fields: Partial<Task> = {},
  status: Partial<Task['status']> = {},
): Task {
  const base = aTask({ serviceId: 's', slot: 1 });
  return {
    ...base,
    serviceName: 'web',
    nodeId: 'n',
    createdAtMs: NOW - 60_000,
    ...fields,
    status: { ...base.status, state, ...status },
  };
}

describe('judgeService', () => {
  const failed = { err: 'image "x" not found', timestampMs: NOW };
  const cases: [string, Service, Task[], string, string[]][] = [
    ['all run', service(2, 2), [task(TaskState.RUNNING)], 'converged', []],
    ['some start', service(1, 2), [task(TaskState.PREPARING)], 'waiting', []],
    ['one failure is not enough', service(0, 1), [task(TaskState.FAILED, {}, failed)], 'waiting', []],
    ['a slot that only fails', service(0, 1), [task(TaskState.REJECTED, { generation: 1 }, failed), task(TaskState.REJECTED, { generation: 2 }, failed)], 'hopeless', ['task web.1: image "x" not found']],
    ['failures of a former spec', service(0, 1), [task(TaskState.FAILED, { generation: 1, specVersion: 1 }, failed), task(TaskState.FAILED, { generation: 2, specVersion: 1 }, failed), task(TaskState.PREPARING, { generation: 3, specVersion: 2 })], 'waiting', []],
    ['a slot whose policy starts no other', service(0, 1), [task(TaskState.REJECTED, {}, { ...failed, timestampMs: NOW - 5000 })], 'hopeless', ['task web.1: image "x" not found; its restart policy starts no other']],
    ['a slot that its policy has given up', service(0, 1), [task(TaskState.COMPLETE, { desiredState: TaskState.SHUTDOWN }, { timestampMs: NOW - 5000 })], 'hopeless', ['task web.1: ended (complete); its restart policy starts no other']],
    ['no node fits', service(0, 1), [task(TaskState.PENDING, {}, { message: 'no suitable node: …' })], 'hopeless', ['no suitable node: …']],
    ['no node fits since a moment', service(0, 1), [task(TaskState.PENDING, { createdAtMs: NOW - 100 }, { message: 'no suitable node: …' })], 'waiting', []],
    ['scaled down, one still stops', service(1, 1), [task(TaskState.RUNNING, { desiredState: TaskState.REMOVE })], 'waiting', []],
    ['scaled down, of which nobody has taken notice yet', service(2, 1), [task(TaskState.RUNNING), task(TaskState.RUNNING, { slot: 2 })], 'waiting', []],
    ['scaled down while some still start', service(1, 1), [task(TaskState.RUNNING), task(TaskState.STARTING, { slot: 2 })], 'waiting', []],
    ['update goes on', service(6, 6, { state: UpdateState.UPDATING }), [], 'waiting', []],
    ['update paused', service(6, 6, { state: UpdateState.PAUSED, message: 'why' }), [], 'hopeless', ['why']],
    ['update over', service(6, 6, { state: UpdateState.COMPLETED }), [], 'converged', []],
  ]; // prettier-ignore
  for (const [name, subject, tasks, verdict, reasons] of cases) {
    it(`${name}: ${verdict}`, () => {
      const judged = judgeService(subject, tasks, { nowMs: NOW, isSteady: true });
      assert.deepEqual([judged.verdict, judged.reasons], [verdict, reasons]);
    });
  }

  it('waits while all run that were only just started', () => {
    const judged = judgeService(service(1, 1), [task(TaskState.RUNNING)], {
      nowMs: NOW,
      isSteady: false,
    });
    assert.equal(judged.verdict, 'waiting');
  });
});

describe('judgeService of a job', () => {
  const job = (completed: number, running: number, total: number): Service => ({
    ...aService({
      spec: {
        name: 'web',
        mode: { $case: 'replicatedJob', value: { totalCompletions: total, maxConcurrent: 1 } },
      },
      jobStatus: { iteration: 2, lastExecutionMs: 0 },
    }),
    serviceStatus: { runningTasks: running, desiredTasks: 1, completedTasks: completed },
  });
  const ended = (state: TaskState, fields: Partial<Task> = {}, err = ''): Task =>
    task(
      state,
      { jobIteration: 2, desiredState: TaskState.SHUTDOWN, ...fields },
      { err, timestampMs: NOW - 5000 },
    );
  const given = { err: 'task: non-zero exit (1)' };
  const cases: [string, Service, Task[], string, string, string[]][] = [
    ['all completed', job(3, 0, 3), [ended(TaskState.COMPLETE)], 'converged', '3/3 completed, 0 running', []],
    ['some to come', job(1, 1, 3), [ended(TaskState.COMPLETE)], 'waiting', '1/3 completed, 1 running', []],
    ['one that is tried again', job(0, 0, 1), [ended(TaskState.FAILED, {}, given.err), task(TaskState.READY, { jobIteration: 2, generation: 2 })], 'waiting', '0/1 completed, 0 running', []],
    ['one that was given up', job(1, 0, 2), [ended(TaskState.FAILED, {}, given.err)], 'hopeless', '1/2 completed, 0 running', ['task web.1: task: non-zero exit (1); its restart policy starts no other']],
    ['failures of the iteration before', job(0, 0, 1), [ended(TaskState.FAILED, { jobIteration: 1 }, given.err)], 'waiting', '0/1 completed, 0 running', []],
    ['no room as yet', job(0, 0, 1), [task(TaskState.PENDING, { jobIteration: 2 }, { message: 'no suitable node: …' })], 'waiting', '0/1 completed, 0 running', []],
  ]; // prettier-ignore
  for (const [name, subject, tasks, verdict, line, reasons] of cases) {
    it(`${name}: ${verdict}`, () => {
      const judged = judgeService(subject, tasks, { nowMs: NOW, isSteady: false });
      assert.deepEqual(judged, { name: 'web', verdict, line, reasons });
    });
  }
});

describe('judgeService of a global service', () => {
  it('does not count what it has on nodes that are down', () => {
    const subject: Service = {
      ...aService({ spec: { name: 'web', mode: { $case: 'global', value: {} } } }),
      serviceStatus: { runningTasks: 1, desiredTasks: 1, completedTasks: 0 },
    };
    const tasks = [
      task(TaskState.RUNNING, { slot: 0 }),
      task(TaskState.RUNNING, { slot: 0, nodeId: 'down' }),
    ];
    const judged = judgeService(subject, tasks, { nowMs: NOW, isSteady: true });
    assert.equal(judged.verdict, 'converged');
  });
});

describe('Steadiness', () => {
  const started = (id: string, fields: Partial<Task> = {}): Task =>
    task(TaskState.RUNNING, { id, ...fields }, { runningAtMs: NOW });
  const looks = (...rounds: [afterMs: number, tasks: Task[]][]): boolean[] => {
    const steadiness = new Steadiness();
    return rounds.map(([afterMs, tasks]) => steadiness.look(tasks, NOW + afterMs));
  };

  it('is there once one task has run for a second', () => {
    const [a, b] = [started('a'), started('b')];
    assert.deepEqual(looks([0, [a]], [999, [a, b]], [1000, [a, b]]), [false, false, true]);
  });

  it('is not given by tasks that follow each other, nor by those of a former spec', () => {
    assert.deepEqual(looks([0, [started('a')]], [1000, [started('b')]]), [false, false]);
    const old = started('old', { specVersion: 1 });
    const fresh = started('new', { specVersion: 2 });
    assert.deepEqual(looks([0, [old]], [1000, [old, fresh]]), [false, false]);
  });

  it('needs no wait for what runs since long, or where nothing is to run', () => {
    const ran = task(TaskState.RUNNING, {}, { runningAtMs: NOW - 10_000 });
    assert.deepEqual(looks([0, [ran, started('new')]]), [true]);
    assert.deepEqual(looks([0, []]), [true]);
  });
});
