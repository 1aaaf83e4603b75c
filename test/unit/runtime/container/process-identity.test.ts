import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Writable } from 'node:stream';
import {
  identifyProcess,
  isAlive,
  readBootId,
  signalProcess,
  zombieExitCode,
} from '../../../../runtime/container/process-identity.js';
import { eventually } from '../../../support/eventually.js';

describe('a process by its identity', () => {
  const bootId = readBootId();

  it('is what it was until it ends, and no later process is', async () => {
    const child = spawn('/bin/sleep', ['1000']);
    const identity = identifyProcess(child.pid ?? 0, bootId);
    assert.ok(identity !== undefined && isAlive(identity, bootId));
    assert.ok(!isAlive({ ...identity, startTicks: identity.startTicks + 1 }, bootId));
    assert.ok(!isAlive(identity, 'another boot'));
    signalProcess({ ...identity, startTicks: 1 }, 9, bootId);
    assert.ok(isAlive(identity, bootId));
    signalProcess(identity, 15, bootId);
    await once(child, 'exit');
    await eventually(() => assert.ok(!isAlive(identity, bootId)));
    assert.equal(identifyProcess(child.pid ?? 0, bootId), undefined);
  });

  it('tells the exit code that nobody has collected', async () => {
    // sleep never collects the children that the shell before it has left.
    const wait = 'read line <&3';
    const script = `(${wait}; exit 7) & echo $!; sh -c '${wait}; kill -9 $$' & echo $!; exec sleep 1000`;
    const parent = spawn('/bin/sh', ['-c', script], {
      stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    });
    try {
      let said = '';
      parent.stdout?.on('data', (part: Buffer) => (said += part.toString()));
      await eventually(() => assert.match(said, /^\d+\n\d+\n$/));
      await eventually(() => {
        assert.equal(readFileSync(`/proc/${parent.pid}/comm`, 'utf8').trim(), 'sleep');
      });
      (parent.stdio[3] as Writable).end('go\ngo\n');
      const [exited = 0, killed = 0] = said.trim().split('\n').map(Number);
      await eventually(() => {
        assert.equal(zombieExitCode(exited), 7);
        assert.equal(zombieExitCode(killed), 137);
      });
      assert.equal(zombieExitCode(parent.pid ?? 0), undefined, 'it lives');
    } finally {
      parent.kill('SIGKILL');
    }
  });
});
