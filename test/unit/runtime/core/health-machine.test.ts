import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  afterProbe,
  INITIAL_HEALTH,
  nextProbeDelayMs,
  planHealthCheck,
  type HealthCheck,
  type HealthState,
} from '../../../../runtime/core/health-machine.js';
import { HealthConfig } from '../../../../proto/gen/hatoba/v1/types.js';

const check: HealthCheck = {
  command: ['true'],
  intervalMs: 30_000,
  timeoutMs: 5000,
  startPeriodMs: 10_000,
  startIntervalMs: 1000,
  retries: 3,
};

function run(results: readonly [passed: boolean, sinceStartMs: number][]): HealthState {
  return results.reduce(
    (state, [passed, atMs]) => afterProbe(check, state, passed, atMs),
    INITIAL_HEALTH,
  );
}

describe('afterProbe', () => {
  it('is healthy after one success', () => {
    assert.deepEqual(run([[true, 0]]), { status: 'healthy', failingStreak: 0 });
  });

  it('does not count failures of the start period', () => {
    assert.deepEqual(
      run([
        [false, 1],
        [false, 2],
        [false, 3],
        [false, 4],
      ]),
      INITIAL_HEALTH,
    );
  });

  it('is unhealthy after as many failures in a row as retries', () => {
    const failures: [boolean, number][] = [
      [false, 20_000],
      [false, 30_000],
      [false, 40_000],
    ];
    assert.equal(run(failures.slice(0, 2)).status, 'starting');
    assert.deepEqual(run(failures), { status: 'unhealthy', failingStreak: 3 });
    assert.equal(run([...failures, [true, 50_000]]).status, 'healthy');
  });

  it('counts failures of the start period once it was healthy', () => {
    assert.equal(
      run([
        [true, 1],
        [false, 2],
        [false, 3],
        [false, 4],
      ]).status,
      'unhealthy',
    );
  });

  it('is unhealthy only by a full streak, whatever came before', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 30 }), (results) => {
        const state = run(results.map((passed) => [passed, 60_000]));
        const streak = results.length - 1 - results.lastIndexOf(true);
        assert.equal(state.failingStreak, streak);
        assert.equal(state.status === 'unhealthy', streak >= check.retries);
      }),
    );
  });
});

describe('nextProbeDelayMs', () => {
  it('is short while starting only', () => {
    assert.equal(nextProbeDelayMs(check, INITIAL_HEALTH, 0), 1000);
    assert.equal(nextProbeDelayMs(check, INITIAL_HEALTH, 10_000), 30_000);
    assert.equal(nextProbeDelayMs(check, { status: 'healthy', failingStreak: 0 }, 0), 30_000);
  });
});

describe('planHealthCheck', () => {
  const image = HealthConfig.fromPartial({ test: ['CMD-SHELL', 'a', 'b'], retries: 7 });

  it("completes the container's by the image's and the defaults", () => {
    const own = HealthConfig.fromPartial({ intervalMs: 100 });
    assert.deepEqual(planHealthCheck(own, image), {
      command: ['/bin/sh', '-c', 'a b'],
      intervalMs: 100,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5000,
      retries: 7,
    });
  });

  it('is none without a test, and with NONE', () => {
    assert.equal(planHealthCheck(undefined, undefined), undefined);
    assert.equal(planHealthCheck(HealthConfig.fromPartial({ test: ['NONE'] }), image), undefined);
    assert.equal(planHealthCheck(HealthConfig.fromPartial({ test: ['CMD'] }), image), undefined);
  });

  it('runs CMD without a shell', () => {
    const own = HealthConfig.fromPartial({ test: ['CMD', 'probe', 'x y'] });
    assert.deepEqual(planHealthCheck(own, image)?.command, ['probe', 'x y']);
  });
});
