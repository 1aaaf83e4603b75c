import assert from 'node:assert/strict';
import type { TaskStatus } from '../../../common/model/objects.js';
import {
  afterAction,
  desiredOf,
  MAX_ATTEMPTS,
  nextAction,
  outcomeOfError,
  type Action,
  type Outcome,
  type TaskView,
} from '../../../node-agent/core/task-machine.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { taskStatus } from './tasks.js';

const NOW = 1000;
const running = (pid: number): Partial<TaskStatus> => ({
  containerStatus: { containerId: 't1', pid, oomKilled: false },
});
const view = (
  changes: Partial<Omit<TaskView, 'status'>> & { status?: Partial<TaskStatus> },
): TaskView => ({
  desired: TaskState.RUNNING,
  assigned: true,
  networkWait: '',
  drainMs: 0,
  isDrained: false,
  ...changes,
  status: taskStatus(changes.status),
});
const short = (action: Action): string => {
  switch (action.type) {
    case 'advance':
      return `advance ${action.to}: ${action.message}`;
    case 'watch':
      return `watch until ${action.until}`;
    case 'drain':
      return `drain ${action.limitMs}`;
    default:
      return action.type;
  }
};

const ALIVE = [
  TaskState.ASSIGNED,
  TaskState.ACCEPTED,
  TaskState.PREPARING,
  TaskState.READY,
  TaskState.STARTING,
  TaskState.RUNNING,
];
const ENDED = [
  TaskState.COMPLETE,
  TaskState.SHUTDOWN,
  TaskState.FAILED,
  TaskState.REJECTED,
  TaskState.ORPHANED,
];

describe('nextAction', () => {
  const forward: Record<string, string> = {
    [TaskState.NEW]: 'advance TASK_STATE_ACCEPTED: accepted',
    [TaskState.PENDING]: 'advance TASK_STATE_ACCEPTED: accepted',
    [TaskState.ASSIGNED]: 'advance TASK_STATE_ACCEPTED: accepted',
    [TaskState.ACCEPTED]: 'advance TASK_STATE_PREPARING: preparing',
    [TaskState.PREPARING]: 'prepare',
    [TaskState.READY]: 'advance TASK_STATE_STARTING: starting',
    [TaskState.STARTING]: 'start',
    [TaskState.RUNNING]: 'watch until ended',
  };
  for (const desired of [TaskState.RUNNING, TaskState.COMPLETE]) {
    for (const [state, expected] of Object.entries(forward)) {
      it(`${state} wanted ${desired}: ${expected}`, () => {
        const action = nextAction(view({ desired, status: { state: state as TaskState } }));
        assert.equal(short(action), expected);
      });
    }
  }

  for (const [state, expected] of Object.entries(forward)) {
    it(`${state} wanted ready`, () => {
      const action = nextAction(
        view({ desired: TaskState.READY, status: { state: state as TaskState } }),
      );
      assert.equal(short(action), state === TaskState.READY ? 'idle' : expected);
    });
  }

  for (const state of ALIVE) {
    for (const desired of [TaskState.SHUTDOWN, TaskState.REMOVE]) {
      it(`${state} wanted ${desired}: shutdown`, () => {
        assert.equal(nextAction(view({ desired, status: { state } })).type, 'shutdown');
      });
    }
    it(`${state} no longer assigned: shutdown`, () => {
      assert.equal(nextAction(view({ assigned: false, status: { state } })).type, 'shutdown');
    });
    it(`${state} with an error of its own: shutdown`, () => {
      assert.equal(nextAction(view({ status: { state, err: 'unhealthy' } })).type, 'shutdown');
    });
  }

  for (const state of ENDED) {
    for (const desired of [TaskState.RUNNING, TaskState.SHUTDOWN, TaskState.REMOVE]) {
      it(`${state} wanted ${desired}: idle while assigned, else remove`, () => {
        assert.equal(nextAction(view({ desired, status: { state } })).type, 'idle');
        assert.equal(
          nextAction(view({ desired, assigned: false, status: { state } })).type,
          'remove',
        );
      });
    }
  }

  it('starting with a process waits for its health', () => {
    const action = nextAction(view({ status: { state: TaskState.STARTING, ...running(7) } }));
    assert.deepEqual(action, { type: 'watch', until: 'healthy' });
  });

  it('preparing waits for its networks, saying so once', () => {
    const networkWait = 'waiting for network "a"';
    const status = { state: TaskState.PREPARING, message: 'preparing' };
    const first = nextAction(view({ networkWait, status }));
    assert.equal(short(first), `advance TASK_STATE_PREPARING: ${networkWait}`);
    const then = nextAction(view({ networkWait, status: { ...status, message: networkWait } }));
    assert.equal(then.type, 'idle');
  });
});

describe('afterAction', () => {
  const exited = (exitCode: number, oomKilled = false): Outcome => ({
    type: 'observed',
    container: { status: 'exited', containerId: 't1', exitCode, oomKilled },
  });
  const alive = (
    health: 'none' | 'starting' | 'healthy' | 'unhealthy',
    healthOutput = '',
  ): Outcome => ({
    type: 'observed',
    container: { status: 'running', containerId: 't1', pid: 7, health, healthOutput },
  });
  const missing: Outcome = { type: 'observed', container: { status: 'missing' } };
  const failed: Outcome = { type: 'failed', err: 'why' };
  const retry: Outcome = { type: 'retry', err: 'why' };
  const done: Outcome = { type: 'done' };
  const watch = { type: 'watch', until: 'ended' } as const;
  const start = { type: 'start' } as const;
  const shutdown = { type: 'shutdown' } as const;
  const drain = { type: 'drain', limitMs: 5000 } as const;
  const prepare = { type: 'prepare' } as const;

  interface Case {
    name: string;
    from: TaskState;
    err?: string;
    action: Action;
    outcome: Outcome;
    to: TaskState;
    expected?: Partial<Pick<TaskStatus, 'message' | 'err'>>;
  }
  const cases: Case[] = [
    {
      name: 'prepared',
      from: TaskState.PREPARING,
      action: prepare,
      outcome: done,
      to: TaskState.READY,
      expected: { message: 'prepared', err: '' },
    },
    {
      name: 'not prepared',
      from: TaskState.PREPARING,
      action: prepare,
      outcome: failed,
      to: TaskState.REJECTED,
      expected: { err: 'why' },
    },
    {
      name: 'prepare again',
      from: TaskState.PREPARING,
      action: prepare,
      outcome: retry,
      to: TaskState.PREPARING,
      expected: { message: 'preparing, trying again: why', err: '' },
    },
    {
      name: 'started',
      from: TaskState.STARTING,
      action: start,
      outcome: alive('none'),
      to: TaskState.RUNNING,
      expected: { message: 'running' },
    },
    {
      name: 'started, probe not yet ok',
      from: TaskState.STARTING,
      action: start,
      outcome: alive('starting'),
      to: TaskState.STARTING,
    },
    {
      name: 'healthy',
      from: TaskState.STARTING,
      action: watch,
      outcome: alive('healthy'),
      to: TaskState.RUNNING,
    },
    {
      name: 'never healthy',
      from: TaskState.STARTING,
      action: watch,
      outcome: alive('unhealthy', 'no\n'),
      to: TaskState.STARTING,
      expected: { err: 'unhealthy container: no' },
    },
    {
      name: 'no longer healthy',
      from: TaskState.RUNNING,
      action: watch,
      outcome: alive('unhealthy'),
      to: TaskState.RUNNING,
      expected: { err: 'unhealthy container' },
    },
    {
      name: 'stopped for being unhealthy',
      from: TaskState.RUNNING,
      err: 'unhealthy container: x',
      action: shutdown,
      outcome: exited(137),
      to: TaskState.FAILED,
      expected: { err: 'unhealthy container: x' },
    },
    {
      name: 'not started',
      from: TaskState.STARTING,
      action: start,
      outcome: failed,
      to: TaskState.STARTING,
      expected: { err: 'why' },
    },
    {
      name: 'stopped for not starting',
      from: TaskState.STARTING,
      err: 'why',
      action: shutdown,
      outcome: missing,
      to: TaskState.FAILED,
      expected: { err: 'why' },
    },
    {
      name: 'start again',
      from: TaskState.STARTING,
      action: start,
      outcome: retry,
      to: TaskState.STARTING,
      expected: { message: 'starting, trying again: why', err: '' },
    },
    {
      name: 'finished',
      from: TaskState.RUNNING,
      action: watch,
      outcome: exited(0),
      to: TaskState.COMPLETE,
      expected: { message: 'finished', err: '' },
    },
    {
      name: 'finished at once',
      from: TaskState.STARTING,
      action: start,
      outcome: exited(0),
      to: TaskState.COMPLETE,
    },
    {
      name: 'crashed',
      from: TaskState.RUNNING,
      action: watch,
      outcome: exited(3),
      to: TaskState.FAILED,
      expected: { err: 'task: non-zero exit (3)' },
    },
    {
      name: 'out of memory',
      from: TaskState.RUNNING,
      action: watch,
      outcome: exited(137, true),
      to: TaskState.FAILED,
      expected: { err: 'task: non-zero exit (137): killed, out of memory' },
    },
    {
      name: 'crashed at once',
      from: TaskState.STARTING,
      action: start,
      outcome: exited(1),
      to: TaskState.FAILED,
    },
    {
      name: 'vanished',
      from: TaskState.RUNNING,
      action: watch,
      outcome: missing,
      to: TaskState.FAILED,
      expected: { err: 'task: its container is gone from this node' },
    },
    {
      name: 'watch again',
      from: TaskState.RUNNING,
      action: watch,
      outcome: retry,
      to: TaskState.RUNNING,
      expected: { message: 'running, trying again: why', err: '' },
    },
    {
      name: 'shut down',
      from: TaskState.RUNNING,
      action: shutdown,
      outcome: exited(143),
      to: TaskState.SHUTDOWN,
      expected: { message: 'shutdown', err: '' },
    },
    {
      name: 'shut down before it was prepared',
      from: TaskState.ASSIGNED,
      action: shutdown,
      outcome: missing,
      to: TaskState.SHUTDOWN,
    },
    {
      name: 'shut down later',
      from: TaskState.RUNNING,
      action: shutdown,
      outcome: retry,
      to: TaskState.RUNNING,
      expected: { message: 'stopping, trying again: why', err: '' },
    },
    {
      name: 'draining',
      from: TaskState.RUNNING,
      action: drain,
      outcome: { type: 'open', connections: 3 },
      to: TaskState.RUNNING,
      expected: { message: 'draining: 3 open connections', err: '' },
    },
    {
      name: 'draining the last',
      from: TaskState.RUNNING,
      action: drain,
      outcome: { type: 'open', connections: 1 },
      to: TaskState.RUNNING,
      expected: { message: 'draining: 1 open connection' },
    },
    {
      name: 'drained',
      from: TaskState.RUNNING,
      action: drain,
      outcome: done,
      to: TaskState.RUNNING,
    },
    {
      name: 'finished while draining',
      from: TaskState.RUNNING,
      action: drain,
      outcome: exited(0),
      to: TaskState.COMPLETE,
      expected: { message: 'finished', err: '' },
    },
    {
      name: 'crashed while draining',
      from: TaskState.RUNNING,
      action: drain,
      outcome: exited(3),
      to: TaskState.FAILED,
      expected: { err: 'task: non-zero exit (3)' },
    },
    {
      name: 'vanished while draining',
      from: TaskState.STARTING,
      action: drain,
      outcome: missing,
      to: TaskState.FAILED,
    },
    {
      name: 'unhealthy while draining',
      from: TaskState.RUNNING,
      action: drain,
      outcome: alive('unhealthy'),
      to: TaskState.RUNNING,
      expected: { err: '' },
    },
    {
      name: 'drain again',
      from: TaskState.RUNNING,
      action: drain,
      outcome: retry,
      to: TaskState.RUNNING,
      expected: { message: 'draining, trying again: why', err: '' },
    },
    {
      name: 'shut down later, whatever the error',
      from: TaskState.RUNNING,
      action: shutdown,
      outcome: failed,
      to: TaskState.RUNNING,
    },
  ];
  for (const c of cases) {
    it(`${c.name}: ${c.from} → ${c.to}`, () => {
      const before = taskStatus({ state: c.from, err: c.err ?? '' });
      const after = afterAction(before, c.action, c.outcome, NOW);
      assert.equal(after.state, c.to);
      assert.deepEqual({ ...after, ...c.expected }, after);
    });
  }

  it('keeps exit code and out-of-memory kill', () => {
    const before = taskStatus({ state: TaskState.RUNNING, ...running(7) });
    const after = afterAction(before, watch, exited(137, true), NOW);
    assert.deepEqual(after.containerStatus, {
      containerId: 't1',
      pid: 7,
      exitCode: 137,
      oomKilled: true,
    });
  });

  it('notes when the task entered running, and keeps it when it ends', () => {
    const started = afterAction(
      taskStatus({ state: TaskState.STARTING }),
      start,
      alive('none'),
      50,
    );
    assert.equal(started.runningAtMs, 50);
    assert.equal(started.containerStatus.pid, 7);
    assert.equal(afterAction(started, watch, exited(0), 90).runningAtMs, 50);
  });

  it('says nothing new about a container that still runs', () => {
    const before = taskStatus({ state: TaskState.RUNNING, message: 'running', ...running(7) });
    assert.equal(afterAction(before, watch, alive('healthy'), NOW), before);
  });

  it('refuses to go back', () => {
    const advance = { type: 'advance', to: TaskState.ACCEPTED, message: '' } as const;
    assert.throws(
      () => afterAction(taskStatus({ state: TaskState.RUNNING }), advance, done, NOW),
      /may not go from/,
    );
  });
});

describe('outcomeOfError', () => {
  const err = { kind: 'unavailable', message: 'registry does not answer' } as const;
  const final = { kind: 'not-found', message: 'no such image' } as const;
  for (const type of ['prepare', 'start'] as const) {
    it(`${type}: temporary errors are tried again, for a while`, () => {
      assert.equal(outcomeOfError({ type }, err, MAX_ATTEMPTS - 1).type, 'retry');
      assert.deepEqual(outcomeOfError({ type }, err, MAX_ATTEMPTS), {
        type: 'failed',
        err: 'registry does not answer',
      });
    });
    it(`${type}: other errors are final, word for word`, () => {
      assert.deepEqual(outcomeOfError({ type }, final, 1), {
        type: 'failed',
        err: 'no such image',
      });
    });
  }
  for (const action of [
    { type: 'watch', until: 'ended' },
    { type: 'drain', limitMs: 5000 },
    { type: 'shutdown' },
    { type: 'remove' },
  ] as const) {
    it(`${action.type}: tried for ever`, () => {
      assert.equal(outcomeOfError(action, final, 1000).type, 'retry');
    });
  }
});

describe('desiredOf', () => {
  it('takes a task that the managers count as dead for unwanted', () => {
    const task = (state: TaskState): { desiredState: TaskState; status: { state: TaskState } } => ({
      desiredState: TaskState.RUNNING,
      status: { state },
    });
    assert.equal(desiredOf(task(TaskState.ORPHANED)), TaskState.SHUTDOWN);
    assert.equal(desiredOf(task(TaskState.RUNNING)), TaskState.RUNNING);
  });
});
