import assert from 'node:assert/strict';
import type { Task } from '../../../../../common/model/objects.js';
import { handedOn, judgeRestart } from '../../../../../manager/core/orchestrator/restart-policy.js';
import {
  RestartCondition,
  TaskState,
  type RestartHistory,
  type RestartPolicy,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aTask, T0, type Some } from '../../../../support/builders.js';

const NOW = T0 + 3_600_000;
const MINUTE = 60_000;

/** A task that has failed just now, after it had run for `livedMs`; 0: it never ran. */
function failed(
  restartPolicy: Some<RestartPolicy>,
  restarts?: RestartHistory,
  livedMs = 100,
): Task {
  const runningAtMs = livedMs === 0 ? 0 : NOW - livedMs;
  const status = { state: TaskState.FAILED, timestampMs: NOW, runningAtMs, err: 'boom' };
  return aTask({ spec: { restartPolicy }, restarts, status });
}

/** The delays before the next attempts of a task that fails at once each time. */
function delays(policy: Some<RestartPolicy>, count: number): number[] {
  const found: number[] = [];
  let restarts: RestartHistory | undefined;
  for (let i = 0; i < count; i++) {
    const verdict = judgeRestart(failed(policy, restarts), NOW);
    assert.ok(verdict.again);
    found.push(verdict.delayMs);
    restarts = verdict.restarts;
  }
  return found;
}

describe('restart policy', () => {
  const backOffs: readonly [string, Some<RestartPolicy>, number[]][] = [
    ['doubles', { delayMs: 1000 }, [1000, 2000, 4000, 8000]],
    ['begins with 5 s, if nothing is named', {}, [5000, 10_000, 20_000]],
    ['stops at the limit', { delayMs: 1000, maxDelayMs: 3000 }, [1000, 2000, 3000, 3000]],
    ['stops at 5 min', { delayMs: 100_000 }, [100_000, 200_000, 300_000, 300_000]],
    ['is constant as with Swarm', { delayMs: 9000, maxDelayMs: 0 }, [9000, 9000, 9000]],
    ['may be longer than the usual limit', { delayMs: 400_000 }, [400_000, 400_000]],
    ['may be nothing at first', { delayMs: 0 }, [0, 200, 400]],
    ['may always be nothing', { delayMs: 0, maxDelayMs: 0 }, [0, 0, 0]],
  ];
  it('the delay stays a number, however often a task has failed', () => {
    for (const delayMs of [0, 1, 1000]) {
      const verdict = judgeRestart(failed({ delayMs }, { atMs: [], inRow: 5000 }), NOW);
      assert.ok(verdict.again && Number.isFinite(verdict.delayMs));
    }
  });

  for (const [name, policy, expected] of backOffs) {
    it(`the delay ${name}`, () => {
      assert.deepEqual(delays(policy, expected.length), expected);
    });
  }

  const lives: readonly [string, Some<RestartPolicy>, number, number][] = [
    ['ten minutes', {}, 10 * MINUTE, 4],
    ['more than ten minutes', {}, 10 * MINUTE + 1, 1],
    [
      'less than ten times as long as it waited',
      { delayMs: 2 * MINUTE, maxDelayMs: 0 },
      20 * MINUTE,
      4,
    ],
    ['more than that', { delayMs: 2 * MINUTE, maxDelayMs: 0 }, 20 * MINUTE + 1, 1],
    ['the window', { windowMs: 5000 }, 5000, 4],
    ['more than the window', { windowMs: 5000 }, 5001, 1],
    ['not at all', {}, 0, 4],
  ];
  for (const [name, policy, livedMs, inRow] of lives) {
    it(`counts ${inRow} in a row after a task that lived ${name}`, () => {
      const verdict = judgeRestart(failed(policy, { atMs: [], inRow: 3 }, livedMs), NOW);
      assert.ok(verdict.again);
      assert.equal(verdict.restarts.inRow, inRow);
    });
  }

  const limits: readonly [string, Some<RestartPolicy>, number[], string | number[]][] = [
    ['the first', { maxAttempts: 2 }, [], [0]],
    ['the last', { maxAttempts: 2 }, [50_000], [50_000, 0]],
    [
      'too many',
      { maxAttempts: 2 },
      [60_000, 50_000],
      'gave up after 2 attempts: web.1 failed: boom',
    ],
    [
      'too many in the window',
      { maxAttempts: 2, windowMs: 60_000, delayMs: 0 },
      [59_000, 100],
      'gave up after 2 attempts in 1m: web.1 failed: boom',
    ],
    ['an old one', { maxAttempts: 2, windowMs: 60_000, delayMs: 0 }, [60_000, 100], [100, 0]],
    [
      'one of the window and its delays',
      { maxAttempts: 2, windowMs: 10_000, delayMs: 5000, maxDelayMs: 0 },
      [19_000, 100],
      'gave up after 2 attempts in 10s: web.1 failed: boom',
    ],
    ['none, as nothing limits them', {}, [100], []],
  ];
  for (const [name, policy, ages, expected] of limits) {
    it(`counts attempts: ${name}`, () => {
      const atMs = ages.map((age) => NOW - age);
      const verdict = judgeRestart(failed(policy, { atMs, inRow: 0 }), NOW);
      if (typeof expected === 'string')
        assert.deepEqual(verdict, { again: false, reason: expected });
      else {
        assert.ok(verdict.again);
        assert.deepEqual(
          verdict.restarts.atMs,
          expected.map((age) => NOW - age),
        );
      }
    });
  }

  const { NONE, ON_FAILURE } = RestartCondition;
  const ends: readonly [RestartCondition, TaskState, string][] = [
    [NONE, TaskState.FAILED, 'web.1 failed: boom; its restart policy is none'],
    [ON_FAILURE, TaskState.COMPLETE, 'web.1 completed: boom; its restart policy is on-failure'],
  ];
  for (const [condition, state, reason] of ends) {
    it(`says why it starts no other: ${reason}`, () => {
      const task = failed({ condition });
      const ended = { ...task, status: { ...task.status, state } };
      assert.deepEqual(judgeRestart(ended, NOW), { again: false, reason });
    });
  }

  it('counts nothing that was not the task itself, and hands on what there was', () => {
    const restarts = { atMs: [NOW - 100], inRow: 2 };
    const policy = { maxAttempts: 1, delayMs: 1000 };
    const lost = {
      ...failed(policy, restarts),
      status: { ...failed({}).status, state: TaskState.ORPHANED },
    };
    assert.deepEqual(judgeRestart(lost, NOW), { again: true, delayMs: 4000, restarts });
    assert.deepEqual(handedOn(lost, NOW), restarts);
    assert.equal(handedOn(failed(policy), NOW), undefined);
  });
});
