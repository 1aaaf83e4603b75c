import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isTerminal, rankOf } from '../../../common/model/task-state.js';
import {
  afterAction,
  nextAction,
  type Action,
  type Observation,
  type Outcome,
} from '../../../node-agent/core/task-machine.js';
import { TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { taskStatus } from './tasks.js';

const NOW = 1000;
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

const observation: fc.Arbitrary<Observation> = fc.oneof(
  fc.record({
    status: fc.constant('running' as const),
    containerId: fc.constant('t1'),
    pid: fc.integer({ min: 1, max: 9 }),
    health: fc.constantFrom('none', 'starting', 'healthy', 'unhealthy'),
    healthOutput: fc.string(),
  }),
  fc.record({
    status: fc.constant('exited' as const),
    containerId: fc.constant('t1'),
    exitCode: fc.integer({ min: 0, max: 255 }),
    oomKilled: fc.boolean(),
  }),
  fc.constant({ status: 'missing' as const }),
);
const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.constant({ type: 'done' as const }),
  fc.record({ type: fc.constant('observed' as const), container: observation }),
  fc.record({
    type: fc.constantFrom('failed' as const, 'retry' as const),
    err: fc.string({ minLength: 1 }),
  }),
  fc.record({ type: fc.constant('open' as const), connections: fc.nat() }),
);
const wish = fc.constantFrom(
  TaskState.READY,
  TaskState.RUNNING,
  TaskState.COMPLETE,
  TaskState.SHUTDOWN,
  TaskState.REMOVE,
);
const step = fc.record({
  desired: wish,
  assigned: fc.boolean(),
  networkWait: fc.constantFrom('', 'waiting for network "a"'),
  drainMs: fc.constantFrom(0, 5000),
  isDrained: fc.boolean(),
  outcome,
});
const anyState = fc.constantFrom(...ALIVE, ...ENDED);

describe('task machine, whatever happens', () => {
  it('never goes back, and an end is final', () => {
    fc.assert(
      fc.property(anyState, fc.array(step, { maxLength: 30 }), (state, steps) => {
        let status = taskStatus({ state });
        for (const { outcome: result, ...rest } of steps) {
          const next = afterAction(status, nextAction({ ...rest, status }), result, NOW);
          assert.ok(rankOf(next.state) >= rankOf(status.state));
          if (isTerminal(status.state)) assert.equal(next, status);
          status = next;
        }
      }),
      { numRuns: 500 },
    );
  });

  it('rejects before starting, fails from starting on', () => {
    fc.assert(
      fc.property(anyState, fc.array(step, { maxLength: 30 }), (state, steps) => {
        let status = taskStatus({ state });
        let farthest = rankOf(state);
        for (const { outcome: result, ...rest } of steps) {
          const was = status.state;
          status = afterAction(status, nextAction({ ...rest, status }), result, NOW);
          if (was === status.state) continue;
          if (status.state === TaskState.REJECTED) assert.ok(farthest < rankOf(TaskState.STARTING));
          if (status.state === TaskState.FAILED) assert.ok(farthest >= rankOf(TaskState.STARTING));
          farthest = rankOf(status.state);
        }
      }),
      { numRuns: 500 },
    );
  });

  /** What an executor answers on which every step works. */
  const obliging = (action: Action, stopped: boolean): Outcome => {
    if (action.type === 'start' || action.type === 'watch') {
      const health = 'healthy' as const;
      return {
        type: 'observed',
        container: { status: 'running', containerId: 't1', pid: 7, health, healthOutput: '' },
      };
    }
    const missing = { status: 'missing' } as const;
    return stopped ? { type: 'observed', container: missing } : { type: 'done' };
  };

  it('converges on what is wanted within ten steps, from any history', () => {
    fc.assert(
      fc.property(anyState, fc.array(step, { maxLength: 20 }), wish, (state, history, desired) => {
        let status = taskStatus({ state });
        for (const { outcome: result, ...rest } of history) {
          status = afterAction(status, nextAction({ ...rest, status }), result, NOW);
        }
        const actions: string[] = [];
        const rest = { desired, assigned: true, networkWait: '', drainMs: 5000 };
        for (let i = 0; i < 10; i++) {
          const isDrained = actions.includes('drain');
          const action = nextAction({ ...rest, isDrained, status });
          actions.push(action.type);
          status = afterAction(status, action, obliging(action, action.type === 'shutdown'), NOW);
        }
        const last = actions.at(-1);
        if (isTerminal(status.state)) assert.equal(last, 'idle');
        else if (desired === TaskState.READY && status.state === TaskState.READY)
          assert.equal(last, 'idle');
        else assert.deepEqual([status.state, last], [TaskState.RUNNING, 'watch']);
        if (!isTerminal(status.state))
          assert.ok(desired !== TaskState.SHUTDOWN && desired !== TaskState.REMOVE);
      }),
      { numRuns: 500 },
    );
  });

  it('ends by removing what is no longer assigned', () => {
    fc.assert(
      fc.property(anyState, wish, (state, desired) => {
        let status = taskStatus({ state });
        const actions: string[] = [];
        for (let i = 0; i < 3; i++) {
          const drain = { drainMs: 5000, isDrained: false };
          const action = nextAction({
            ...drain,
            status,
            desired,
            assigned: false,
            networkWait: '',
          });
          actions.push(action.type);
          status = afterAction(status, action, obliging(action, true), NOW);
        }
        assert.equal(actions.at(-1), 'remove');
      }),
    );
  });
});
