import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import { waitFor } from '../../../../node-agent/local/container-wait.js';
import { eventsOf } from '../../../../node-agent/local/engine-events.js';
import { GarbageRounds } from '../../../../node-agent/local/garbage-rounds.js';
import { RestartGate } from '../../../../node-agent/local/restart-gate.js';
import type { EngineEvent } from '../../../../runtime/engine.js';
import { createdContainer } from '../../../support/container-state.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { aConfig, FakeLocalContainers } from './fakes.js';

const anEvent = (timeMs: number): EngineEvent => ({
  timeMs,
  type: 'container',
  action: 'start',
  id: `c${timeMs}`,
  attributes: {},
});

describe('events of the engine', () => {
  let clock: FakeClock;
  let listeners: Set<(event: EngineEvent) => void>;
  let known: EngineEvent[];
  let stop: AbortController;

  beforeEach(() => {
    clock = new FakeClock(1000);
    listeners = new Set();
    known = [100, 500, 900].map(anEvent);
    stop = new AbortController();
  });
  const system = {
    onEvent: (listener: (event: EngineEvent) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    recentEvents: () => known,
  };
  const tell = (timeMs: number): void => {
    for (const listener of listeners) listener(anEvent(timeMs));
  };
  /** Reads to the end. */
  async function read(sinceMs: number, untilMs: number, times: number[]): Promise<void> {
    for await (const { timeMs } of eventsOf(system, { sinceMs, untilMs }, clock, stop.signal)) {
      times.push(timeMs);
    }
  }

  it('are those of the past, up to a point in it', async () => {
    const times: number[] = [];
    await read(500, 900, times);
    assert.deepEqual(times, [500]);
    assert.equal(listeners.size + clock.pendingTimers, 0);
  });

  it('go on until a point to come', async () => {
    const times: number[] = [];
    const reading = read(500, 3000, times);
    await clock.advance(100);
    tell(1100);
    await clock.advance(1000);
    tell(2100);
    await clock.advance(900);
    await reading;
    assert.deepEqual(times, [500, 900, 1100, 2100]);
    assert.equal(listeners.size + clock.pendingTimers, 0);
  });

  it('begin now and end with their reader', async () => {
    const times: number[] = [];
    const reading = read(0, 0, times);
    await clock.advance(0);
    tell(1001);
    await clock.advance(0);
    stop.abort(new Error('gone'));
    await assert.rejects(reading, /gone/);
    assert.deepEqual(times, [1001]);
    assert.equal(listeners.size, 0);
  });

  it('are cut off from a reader that is far behind', async () => {
    const events = eventsOf(system, { sinceMs: 0, untilMs: 0 }, clock, stop.signal);
    const first = events.next();
    tell(1999);
    assert.equal((await first).value?.timeMs, 1999);
    for (let i = 0; i < 10_003; i++) tell(2000 + i);
    await assert.rejects(events.next(), { kind: 'resource-exhausted' });
    assert.equal(listeners.size, 0);
  });
});

describe('waiting for a container', () => {
  const never = new AbortController().signal;
  let containers: FakeLocalContainers;
  const wait = (condition: string, signal = never): ReturnType<typeof waitFor> =>
    waitFor(containers, containers.find('web'), condition, signal);

  beforeEach(() => {
    containers = new FakeLocalContainers();
    containers.states.set('c1', createdContainer(aConfig()));
  });
  afterEach(() => assert.equal(containers.listeners.size, 0));

  it('ends at once for one that does not run', async () => {
    assert.equal((await wait('')).status, 'created');
  });

  it('ends with the next exit, not with a restart', async () => {
    containers.set('c1', 'exited', { status: 'exited', exitCode: 1 });
    const next = wait('next-exit');
    containers.set('c1', 'started', { status: 'running' });
    containers.set('c1', 'exited', { status: 'restarting', exitCode: 2 });
    containers.set('c1', 'started', { status: 'running' });
    const end = wait('not-running');
    containers.set('c1', 'exited', { status: 'exited', exitCode: 3 });
    assert.equal((await next).exitCode, 3);
    assert.equal((await end).exitCode, 3);
  });

  it('ends with the removal, whatever is waited for', async () => {
    containers.set('c1', 'started', { status: 'running', health: 'starting', exitCode: 9 });
    const waits = ['', 'next-exit', 'removed'].map((condition) => wait(condition));
    const healthy = assert.rejects(wait('healthy'), /it was removed/);
    await containers.remove('c1');
    for (const state of await Promise.all(waits)) assert.equal(state.exitCode, 9);
    await healthy;
  });

  it('ends when it is healthy, or cannot become so', async () => {
    containers.set('c1', 'started', { status: 'running', health: 'starting' });
    const healthy = wait('healthy');
    containers.set('c1', 'health', { health: 'healthy' });
    assert.equal((await healthy).health, 'healthy');
    containers.set('c1', 'health', { health: 'unhealthy', healthOutput: 'no answer' });
    await assert.rejects(wait('healthy'), /it is unhealthy: no answer/);
  });

  it('ends with its caller, and takes no other condition', async () => {
    containers.set('c1', 'started', { status: 'running' });
    const stop = new AbortController();
    const waiting = wait('', stop.signal);
    stop.abort(new Error('gone'));
    await assert.rejects(waiting, /gone/);
    await assert.rejects(wait('', stop.signal), /gone/);
    assert.throws(() => wait('happy'), /not-running, next-exit, removed, healthy/);
  });
});

describe('garbage collection', () => {
  it('comes round again and again, also after a failure, until the end', async () => {
    const clock = new FakeClock();
    let rounds = 0;
    const collectGarbage = (): Promise<{ removed: string[]; reclaimedBytes: number }> => {
      rounds++;
      if (rounds === 1) return Promise.reject(new Error('disk is busy'));
      return Promise.resolve({ removed: ['x'], reclaimedBytes: 1 });
    };
    const garbage = new GarbageRounds(
      { intervalMs: 1000 },
      { system: { collectGarbage }, clock, log: silentLogger },
    );
    await clock.advance(3500);
    assert.equal(rounds, 3);
    await garbage[Symbol.asyncDispose]();
    assert.equal(clock.pendingTimers, 0);
  });
});

describe('RestartGate', () => {
  it('lets containers wait until their networks can be made', async () => {
    const gate = new RestartGate();
    const passed: string[] = [];
    const waiting = gate.pass(aConfig());
    gate.open(({ id }) => {
      passed.push(id);
      return Promise.resolve();
    });
    await waiting;
    await gate.pass(aConfig({ id: 'c2' }));
    assert.deepEqual(passed, ['c1', 'c2']);
  });

  it('sends those away that wait when the agent stops', async () => {
    const gate = new RestartGate();
    const waiting = gate.pass(aConfig());
    gate.close();
    await assert.rejects(waiting, { kind: 'cancelled' });
  });
});
