import assert from 'node:assert/strict';
import type { Service, Task } from '../../../../../common/model/objects.js';
import {
  RestartCondition,
  TaskState,
  type RestartPolicy,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aTask, type Some } from '../../../../support/builders.js';
import { NOW, plan, reasons, running, summary, web } from './planning.js';

describe('restarts', () => {
  const ended = (state: TaskState, policy: Some<RestartPolicy> = {}): Task =>
    running(1, { spec: { restartPolicy: policy }, status: { state, timestampMs: NOW } });
  const withPolicy = (policy: Some<RestartPolicy>): Service =>
    web(1, { spec: { taskTemplate: { restartPolicy: policy } } });

  const { ANY, NONE, ON_FAILURE } = RestartCondition;
  const cases: readonly [string, Some<RestartPolicy>, TaskState, string[]][] = [
    ['any restarts a failure', { condition: ANY }, TaskState.FAILED, ['create 1.2 READY +5000']],
    ['any restarts a success', { condition: ANY }, TaskState.COMPLETE, ['create 1.2 READY +5000']],
    ['the delay is the one named', { delayMs: 200 }, TaskState.FAILED, ['create 1.2 READY +200']],
    ['without delay at once', { delayMs: 0 }, TaskState.REJECTED, ['create 1.2 RUNNING']],
    ['on-failure', { condition: ON_FAILURE }, TaskState.FAILED, ['create 1.2 READY +5000']],
    ['on-failure lets a success be', { condition: ON_FAILURE }, TaskState.COMPLETE, []],
    ['none lets a failure be', { condition: NONE }, TaskState.FAILED, []],
  ];
  for (const [name, policy, state, created] of cases) {
    it(name, () => {
      const made = plan(withPolicy(policy), [ended(state, policy)]);
      assert.deepEqual(summary(made), ['update t-web-1-1 SHUTDOWN', ...created]);
      assert.ok(made.groups.length === 1, 'a task is replaced in one step');
    });
  }

  it('lets the replacement run when its delay is over, and says when to look', () => {
    const old = { ...ended(TaskState.FAILED), desiredState: TaskState.SHUTDOWN };
    const waiting = (startAfterMs: number): Task =>
      aTask({ generation: 2, desiredState: TaskState.READY, startAfterMs, replacesTaskId: old.id });
    const early = plan(web(1), [old, waiting(NOW + 700)]);
    assert.deepEqual(early, { groups: [], requeueAfterMs: 700 });
    assert.deepEqual(summary(plan(web(1), [old, waiting(NOW)])), ['update t-web-1-2 RUNNING']);
  });

  it('waits as long for one that fails while it is only prepared', () => {
    const rejected = (startAfterMs: number): Task => ({
      ...ended(TaskState.REJECTED),
      ...{ desiredState: TaskState.READY, startAfterMs, restarts: { atMs: [], inRow: 3 } },
    });
    assert.deepEqual(plan(web(1), [rejected(NOW + 700)]), { groups: [], requeueAfterMs: 700 });
    assert.deepEqual(summary(plan(web(1), [rejected(NOW)])), [
      'update t-web-1-1 SHUTDOWN',
      'create 1.2 READY +40000',
    ]);
  });

  it('tells what became of a task, and why there is another', () => {
    const policy = { delayMs: 2000, condition: ON_FAILURE };
    const failed = ended(TaskState.FAILED, policy);
    const exit = {
      ...failed.status,
      containerStatus: { ...failed.status.containerStatus, exitCode: 3 },
    };
    assert.deepEqual(reasons(plan(withPolicy(policy), [{ ...failed, status: exit }])), [
      't-web-1-1: web.1 failed: exit code 3; replaced after 2s',
      '1.2: web.1 failed: exit code 3',
    ]);
    assert.deepEqual(reasons(plan(withPolicy(policy), [ended(TaskState.COMPLETE, policy)])), [
      't-web-1-1: web.1 completed; its restart policy is on-failure',
    ]);
  });

  it('puts another task where one had to give way to a more important one', () => {
    const desired = {
      desiredState: TaskState.SHUTDOWN,
      desiredReason: 'gives way to db.1 (priority 10)',
    };
    const made = plan(web(1), [running(1, desired)]);
    assert.deepEqual(summary(made), ['create 1.2 READY']);
    assert.deepEqual(reasons(made), ['1.2: gives way to db.1 (priority 10)']);
  });

  it('leaves a place alone where the policy has given up, for ever', () => {
    const policy = { maxAttempts: 1, windowMs: 5000, delayMs: 100 };
    const gaveUp = {
      ...ended(TaskState.FAILED, policy),
      ...{ desiredState: TaskState.SHUTDOWN, desiredSinceMs: NOW - 50_000 },
      restarts: { atMs: [NOW - 50_500], inRow: 1 },
    };
    assert.deepEqual(plan(withPolicy(policy), [gaveUp]).groups, []);
  });
});
