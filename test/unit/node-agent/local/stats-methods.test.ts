import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { statsMethods } from '../../../../node-agent/local/stats-methods.js';
import { ContainerStats, ContainerStatsRequest } from '../../../../proto/gen/hatoba/v1/engine.js';
import { ContainerSpec, Limit } from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext } from '../../../../proto/wire/service.js';
import type { ContainerState } from '../../../../runtime/engine.js';
import { createdContainer } from '../../../support/container-state.js';
import { FakeClock } from '../../../support/fake-clock.js';

const SECOND = 1000;

/** Containers whose use of the processor is what a test says. */
class Bench {
  readonly clock = new FakeClock();
  readonly states = new Map<string, ContainerState>();
  readonly cpuNs = new Map<string, number>();
  readonly abort = new AbortController();
  readonly context: CallContext = {
    caller: { kind: 'local' },
    signal: this.abort.signal,
    peer: 'unknown',
  };
  readonly methods = statsMethods({
    clock: this.clock,
    engine: {
      containers: {
        find: (name) => this.find(name),
        get: (id) => this.states.get(id),
        list: () => [...this.states.values()],
        stats: (id) => Promise.resolve(this.sample(id)),
        top: () => Promise.resolve([]),
      },
    },
  });

  add(id: string, status: ContainerState['status']): void {
    const config = {
      id,
      name: `name-${id}`,
      spec: ContainerSpec.fromPartial({}),
      limits: Limit.fromPartial({}),
      netns: 'host',
      cgroupGroup: 'group',
      dns: { nameservers: [], search: [], options: [] },
      hosts: [],
      log: { maxSizeBytes: 0, maxFiles: 1 },
      labels: {},
    };
    this.states.set(id, { ...createdContainer(config), status });
  }

  find(name: string): ContainerState {
    const found = [...this.states.values()].find(
      ({ config }) => config.id === name || config.name === name,
    );
    if (found === undefined) throw new HatobaError('not-found', name);
    return found;
  }

  sample(id: string): ContainerStats | undefined {
    const state = this.states.get(id);
    if (state?.status !== 'running') return undefined;
    return ContainerStats.fromPartial({
      containerId: id,
      name: state.config.name,
      readAtMs: this.clock.nowMs(),
      cpuTotalNs: this.cpuNs.get(id) ?? 0,
    });
  }

  /** Id and cores in use of each container, a list for each sample. */
  async *open(
    request: Partial<ContainerStatsRequest>,
  ): AsyncGenerator<[string, number | undefined][], void, undefined> {
    const whole = ContainerStatsRequest.fromPartial(request);
    for await (const { stats } of this.methods.containerStats(whole, this.context)) {
      yield stats.map((s) => [s.containerId, s.cpuCores]);
    }
  }
}

describe('statsMethods', () => {
  it('gives the cores in use since the sample before', async () => {
    const bench = new Bench();
    bench.add('a', 'running');
    const stream = bench.open({ containers: ['name-a'], stream: true });
    assert.deepEqual((await stream.next()).value, [['a', undefined]]);
    const second = stream.next();
    bench.cpuNs.set('a', 1.5e9);
    await bench.clock.advance(SECOND);
    assert.deepEqual((await second).value, [['a', 1.5]]);
    const third = stream.next();
    bench.cpuNs.set('a', 1e6);
    await bench.clock.advance(SECOND);
    assert.deepEqual((await third).value, [['a', undefined]], 'it was started anew');
  });

  it('follows those that run, come and go, where none is named', async () => {
    const bench = new Bench();
    bench.add('a', 'running');
    bench.add('b', 'exited');
    const stream = bench.open({ stream: true, intervalMs: 200 });
    assert.deepEqual((await stream.next()).value, [['a', undefined]]);
    bench.states.delete('a');
    bench.add('c', 'running');
    const second = stream.next();
    await bench.clock.advance(200);
    assert.deepEqual((await second).value, [['c', undefined]]);
  });

  it('shows those that are named although they do not run, until they are gone', async () => {
    const bench = new Bench();
    bench.add('a', 'exited');
    const stream = bench.open({ containers: ['a'], stream: true });
    assert.deepEqual((await stream.next()).value, [['a', undefined]]);
    bench.states.delete('a');
    const second = stream.next();
    await bench.clock.advance(SECOND);
    assert.deepEqual((await second).value, []);
  });

  it('answers once when so asked', async () => {
    const bench = new Bench();
    bench.add('a', 'running');
    const stream = bench.open({ stream: false });
    assert.equal((await stream.next()).done, false);
    assert.equal((await stream.next()).done, true);
    assert.equal(bench.clock.pendingTimers, 0);
  });

  it('ends with its caller', async () => {
    const bench = new Bench();
    const stream = bench.open({ stream: true });
    await stream.next();
    const next = stream.next();
    await bench.clock.advance(1);
    bench.abort.abort(new HatobaError('cancelled', 'gone'));
    await assert.rejects(next, { kind: 'cancelled' });
    assert.equal(bench.clock.pendingTimers, 0);
  });

  it('refuses what is not there, and intervals nobody could keep', async () => {
    const bench = new Bench();
    await assert.rejects(bench.open({ containers: ['x'] }).next(), { kind: 'not-found' });
    for (const intervalMs of [1, -1, 1e9]) {
      await assert.rejects(bench.open({ intervalMs }).next(), { kind: 'invalid-argument' });
    }
    bench.add('b', 'exited');
    await assert.rejects(bench.methods.containerTop({ container: 'b' }, bench.context), {
      kind: 'failed-precondition',
    });
  });
});
