import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { silentLogger } from '../../../../common/logger.js';
import { ContainerPaths } from '../../../../runtime/container/paths.js';
import { ContainerRegistry } from '../../../../runtime/container/registry.js';
import type { ExecSession } from '../../../../runtime/engine.js';
import { HealthProber } from '../../../../runtime/health/prober.js';
import { anEntry } from '../../../support/container-records.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** A probe that the test ends by itself. */
class FakeProbe implements ExecSession {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly exitCode: Promise<number>;
  wasKilled = false;
  #exit: (code: number) => void = () => undefined;

  constructor() {
    this.exitCode = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }
  resize(): Promise<void> {
    return Promise.resolve();
  }
  kill(): Promise<void> {
    this.wasKilled = true;
    return Promise.resolve();
  }
  end(code: number, output = ''): void {
    this.stdout.end(output);
    this.stderr.end();
    this.#exit(code);
  }
}

describe('HealthProber', () => {
  let dir: string;
  let clock: FakeClock;
  let registry: ContainerRegistry;
  let probes: FakeProbe[];
  let prober: HealthProber;
  let health: string[];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-runtime-'));
    clock = new FakeClock();
    const paths = new ContainerPaths(dir, join(dir, 'run'));
    mkdirSync(paths.of('c').dir, { recursive: true });
    registry = new ContainerRegistry(paths, silentLogger);
    probes = [];
    health = [];
    prober = new HealthProber({
      registry,
      clock,
      log: silentLogger,
      exec: () => {
        const probe = new FakeProbe();
        probes.push(probe);
        return Promise.resolve(probe);
      },
    });
    registry.onEvent(({ type, state }) => {
      if (type === 'health') health.push(`${state.health}: ${state.healthOutput}`);
    });
    registry.add(
      anEntry('c', {
        record: {
          health: {
            command: ['probe'],
            intervalMs: 1000,
            timeoutMs: 300,
            startPeriodMs: 0,
            startIntervalMs: 100,
            retries: 2,
          },
        },
      }),
    );
    registry.update(
      'c',
      { status: 'running', health: 'starting', startedAtMs: clock.nowMs() },
      'started',
    );
  });

  afterEach(() => {
    prober[Symbol.dispose]();
    assert.equal(clock.pendingTimers, 0, 'no timer is left');
    rmSync(dir, { recursive: true });
  });

  it('waits the interval from the end of one probe to the next', async () => {
    await clock.advance(999);
    assert.equal(probes.length, 0);
    await clock.advance(1);
    assert.equal(probes.length, 1);
    await clock.advance(200);
    probes[0]?.end(0, 'fine\n');
    await clock.advance(999);
    assert.deepEqual(health, ['healthy: fine']);
    assert.equal(probes.length, 1, 'never two at once');
    await clock.advance(1);
    assert.equal(probes.length, 2);
    probes[1]?.end(1, 'bad');
    await clock.advance(1000);
    probes[2]?.end(1, 'worse');
    await clock.advance(0);
    assert.deepEqual(health, ['healthy: fine', 'healthy: bad', 'unhealthy: worse']);
  });

  it('kills a probe that takes too long, and counts it as failed', async () => {
    await clock.advance(1000);
    await clock.advance(300);
    assert.ok(probes[0]?.wasKilled);
    assert.deepEqual(health, ['starting: Health check exceeded timeout (300 ms)']);
    await clock.advance(1300);
    assert.equal(registry.get('c')?.status.health, 'unhealthy');
  });

  it('stops with the container, and says nothing of a probe that ends later', async () => {
    await clock.advance(1000);
    registry.update('c', { status: 'exited', exitCode: 0 }, 'exited');
    probes[0]?.end(0);
    await clock.advance(5000);
    assert.equal(probes.length, 1);
    assert.deepEqual(health, []);
  });

  it('rests while the container is paused, and is one afterwards', async () => {
    await clock.advance(1000);
    registry.update('c', { status: 'paused' }, 'paused');
    await clock.advance(5000);
    assert.equal(probes.length, 1);
    registry.update('c', { status: 'running' }, 'unpaused');
    probes[0]?.end(1, 'of the time before');
    await clock.advance(1000);
    assert.equal(probes.length, 2);
    probes[1]?.end(0);
    await clock.advance(1000);
    assert.equal(probes.length, 3, 'not twice as often');
    assert.deepEqual(health, ['healthy: ']);
    probes[2]?.end(0);
    await clock.advance(0);
  });

  it('begins anew with a further run', async () => {
    await clock.advance(1000);
    registry.update('c', { status: 'restarting' }, 'exited');
    registry.update(
      'c',
      { status: 'running', health: 'starting', startedAtMs: clock.nowMs() },
      'started',
    );
    probes[0]?.end(0, 'of the run before');
    await clock.advance(999);
    assert.deepEqual([probes.length, health], [1, []]);
    await clock.advance(1);
    assert.equal(probes.length, 2);
    probes[1]?.end(0, 'of this one');
    await clock.advance(0);
    assert.deepEqual(health, ['healthy: of this one']);
  });
});
