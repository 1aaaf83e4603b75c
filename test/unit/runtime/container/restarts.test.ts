import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { Background } from '../../../../runtime/container/background.js';
import { KeyedMutex } from '../../../../common/keyed-mutex.js';
import { ContainerPaths } from '../../../../runtime/container/paths.js';
import { ContainerRegistry } from '../../../../runtime/container/registry.js';
import { Restarts } from '../../../../runtime/container/restarts.js';
import type { ContainerStatus } from '../../../../runtime/container/record.js';
import { anEntry } from '../../../support/container-records.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('restarting containers by their rule', () => {
  let dir: string;
  let clock: FakeClock;
  let registry: ContainerRegistry;
  let restarts: Restarts;
  let attempt: () => Promise<void>;
  let attempts: number;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-restarts-'));
    clock = new FakeClock();
    const paths = new ContainerPaths(dir, dir);
    mkdirSync(paths.of('box').dir, { recursive: true });
    registry = new ContainerRegistry(paths, silentLogger);
    attempts = 0;
    restarts = new Restarts({
      registry,
      starter: {
        restartByRule: () => {
          attempts++;
          return attempt();
        },
      },
      mutex: new KeyedMutex(),
      background: new Background(silentLogger),
      clock,
    });
    const now = clock.nowMs();
    registry.add(
      anEntry('box', {
        config: { restart: { name: 'on-failure', maximumRetryCount: 2 } },
        status: {
          status: 'restarting',
          exitCode: 3,
          startedAtMs: now - 10,
          finishedAtMs: now,
          backoffMs: 100,
        },
      }),
    );
    restarts.start();
  });
  afterEach(() => {
    restarts[Symbol.dispose]();
    assert.equal(clock.pendingTimers, 0);
    rmSync(dir, { recursive: true });
  });

  const status = (): ContainerStatus => registry.mustGet('box').status;

  it('gives up after as many failed starts as the rule allows', async () => {
    attempt = () => Promise.reject(new HatobaError('internal', 'no such device'));
    await clock.advance(10_000);
    assert.equal(attempts, 2);
    const { status: now, restartCount, exitCode, error } = status();
    assert.deepEqual([now, restartCount, exitCode, error], ['exited', 2, 128, 'no such device']);
  });

  it('waits, ever longer, for what is not there yet, and counts no start', async () => {
    attempt = () => Promise.reject(new HatobaError('unavailable', 'the network is not there'));
    await clock.advance(100 + 200 + 400 + 800);
    assert.equal(attempts, 4);
    const { status: now, restartCount, exitCode, error } = status();
    assert.deepEqual([now, restartCount, exitCode], ['restarting', 0, 3]);
    assert.equal(error, 'the network is not there');
    await clock.advance(600_000);
    const sofar = attempts;
    await clock.advance(60_000);
    assert.equal(attempts, sofar + 1, 'once a minute in the end');
  });

  it('leaves it to the next engine when this one is ending', async () => {
    const before = status();
    attempt = () => Promise.reject(new HatobaError('cancelled', 'the agent is stopping'));
    await clock.advance(10_000);
    assert.equal(attempts, 1);
    assert.deepEqual(status(), before);
  });
});
