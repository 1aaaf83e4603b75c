import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  checkRestartRule,
  decideAtOpen,
  decideRestart,
  FIRST_BACKOFF_MS,
  MAX_BACKOFF_MS,
  type RestartRule,
  type RunEnd,
} from '../../../../runtime/core/restart-policy.js';

const rule = (name: RestartRule['name'], maximumRetryCount = 0): RestartRule => {
  return { name, maximumRetryCount };
};
const end = (change: Partial<RunEnd> = {}): RunEnd => {
  return {
    exitCode: 1,
    ranMs: 5,
    isStoppedByHand: false,
    restartCount: 0,
    backoffMs: 0,
    ...change,
  };
};
const YES = { restart: true, backoffMs: FIRST_BACKOFF_MS };
const NO = { restart: false };

describe('restart policy', () => {
  const cases: [string, RestartRule | undefined, RunEnd, object][] = [
    ['none: never', undefined, end(), NO],
    ['no: never', rule('no'), end(), NO],
    ['always: after a failure', rule('always'), end(), YES],
    ['always: after success', rule('always'), end({ exitCode: 0 }), YES],
    ['always: not what was stopped by hand', rule('always'), end({ isStoppedByHand: true }), NO],
    ['unless-stopped: after success', rule('unless-stopped'), end({ exitCode: 0 }), YES],
    ['unless-stopped: not by hand', rule('unless-stopped'), end({ isStoppedByHand: true }), NO],
    ['on-failure: after a failure', rule('on-failure'), end({ restartCount: 99 }), YES],
    ['on-failure: not after success', rule('on-failure'), end({ exitCode: 0 }), NO],
    ['on-failure: not by hand', rule('on-failure'), end({ isStoppedByHand: true }), NO],
    ['on-failure:3 the third time', rule('on-failure', 3), end({ restartCount: 2 }), YES],
    ['on-failure:3 not a fourth time', rule('on-failure', 3), end({ restartCount: 3 }), NO],
    [
      'waits twice as long as before',
      rule('always'),
      end({ backoffMs: 400 }),
      { restart: true, backoffMs: 800 },
    ],
    [
      'the shortest again after ten seconds',
      rule('always'),
      end({ backoffMs: 400, ranMs: 10_000 }),
      YES,
    ],
  ];
  for (const [name, given, run, expected] of cases) {
    it(name, () => assert.deepEqual(decideRestart(given, run), expected));
  }

  it('starts what was stopped by hand when the engine starts anew, with always alone', () => {
    const stopped = end({ exitCode: 0, isStoppedByHand: true });
    assert.deepEqual(decideAtOpen(rule('always'), stopped), YES);
    for (const name of ['no', 'unless-stopped', 'on-failure'] as const) {
      assert.deepEqual(decideAtOpen(rule(name), stopped), NO, name);
    }
    assert.deepEqual(decideAtOpen(rule('on-failure'), end({ exitCode: 255 })), YES);
  });

  it('waits from 100 ms to a minute, never shorter while runs are short', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9999 }), { minLength: 1, maxLength: 40 }), (runs) => {
        let backoffMs = 0;
        for (const [restartCount, ranMs] of runs.entries()) {
          const decision = decideRestart(rule('always'), end({ ranMs, restartCount, backoffMs }));
          assert.ok(decision.restart);
          assert.ok(decision.backoffMs >= Math.max(FIRST_BACKOFF_MS, backoffMs));
          assert.ok(decision.backoffMs <= MAX_BACKOFF_MS);
          backoffMs = decision.backoffMs;
        }
        if (runs.length > 10) assert.equal(backoffMs, MAX_BACKOFF_MS);
      }),
    );
  });

  it('never starts more often than on-failure allows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), (max) => {
        let restartCount = 0;
        while (decideRestart(rule('on-failure', max), end({ restartCount })).restart) {
          restartCount++;
        }
        assert.equal(restartCount, max);
      }),
    );
  });

  it('refuses a rule that contradicts itself or the removal at the end', () => {
    checkRestartRule(rule('on-failure', 3), false);
    checkRestartRule(rule('no'), true);
    assert.throws(() => checkRestartRule(rule('always'), true), /--rm or --restart always/);
    assert.throws(() => checkRestartRule(rule('always', 3), false), /on-failure:3/);
  });
});
