import assert from 'node:assert/strict';
import type { TaskStatus } from '../../../common/model/objects.js';
import {
  drainMsOf,
  isSameAction,
  nextAction,
  type Action,
  type TaskView,
} from '../../../node-agent/core/task-machine.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { taskStatus } from './tasks.js';

describe('a task that is to leave, with connections to let go on', () => {
  type Changes = Partial<Omit<TaskView, 'status'>> & { status?: Partial<TaskStatus> };
  const leaving = (changes: Changes = {}): string => {
    const containerStatus = { containerId: 't1', pid: 7, oomKilled: false };
    const status = { state: TaskState.RUNNING, containerStatus, ...changes.status };
    const action = nextAction({
      desired: TaskState.SHUTDOWN,
      assigned: true,
      networkWait: '',
      drainMs: 5000,
      isDrained: false,
      ...changes,
      status: taskStatus(status),
    });
    return action.type === 'drain' ? `drain ${action.limitMs}` : action.type;
  };

  it('drains first, whether it is to be shut down or removed', () => {
    assert.equal(leaving(), 'drain 5000');
    assert.equal(leaving({ desired: TaskState.REMOVE }), 'drain 5000');
  });
  it('drains while its health check has not yet passed', () => {
    assert.equal(leaving({ status: { state: TaskState.STARTING } }), 'drain 5000');
  });
  it('stops once it is drained, or has no time', () => {
    assert.equal(leaving({ isDrained: true }), 'shutdown');
    assert.equal(leaving({ drainMs: 0 }), 'shutdown');
  });
  it('stops at once what has failed, was taken away, or never ran', () => {
    assert.equal(leaving({ status: { err: 'unhealthy container' } }), 'shutdown');
    assert.equal(leaving({ assigned: false }), 'shutdown');
    const containerStatus = { containerId: '', pid: 0, oomKilled: false };
    for (const state of [TaskState.PREPARING, TaskState.READY, TaskState.STARTING]) {
      assert.equal(leaving({ status: { state, containerStatus } }), 'shutdown');
    }
  });
  it('goes on as long as it is wanted', () => {
    assert.equal(leaving({ desired: TaskState.RUNNING }), 'watch');
  });
});

describe('isSameAction', () => {
  it('tells actions apart by their kind, and drains by their time', () => {
    const drain = (limitMs: number): Action => ({ type: 'drain', limitMs });
    assert.equal(isSameAction(drain(1), drain(1)), true);
    assert.equal(isSameAction(drain(1), drain(2)), false);
    assert.equal(isSameAction(drain(1), { type: 'shutdown' }), false);
    assert.equal(isSameAction({ type: 'prepare' }, { type: 'prepare' }), true);
  });
});

describe('drainMsOf', () => {
  const task = (state: TaskState, ...addresses: string[]): Parameters<typeof drainMsOf>[0] => ({
    drainMs: 700,
    networksAttachments: [{ addresses: [] }, { addresses }],
    status: { state },
  });
  it('gives time to what others can have reached by an address of its own', () => {
    assert.equal(drainMsOf(task(TaskState.RUNNING, '10.0.1.7/24')), 700);
    assert.equal(drainMsOf(task(TaskState.RUNNING)), 0);
    assert.equal(drainMsOf({ ...task(TaskState.RUNNING, '10.0.1.7/24'), drainMs: -1 }), 0);
  });
  it('gives none to what the managers count as dead', () => {
    assert.equal(drainMsOf(task(TaskState.ORPHANED, '10.0.1.7/24')), 0);
  });
});
