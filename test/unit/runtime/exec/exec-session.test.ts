import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { CrunExec } from '../../../../runtime/exec/exec-session.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('a further process of a container', () => {
  let dir: string;
  let pidFile: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-exec-'));
    pidFile = join(dir, 'pid');
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  /** One that has ended, and what crun said of it. */
  const endWith = (exitCode: number, said: string): CrunExec =>
    new CrunExec({
      child: { pid: 0, exited: Promise.resolve(exitCode), pipes: new Map() },
      command: ['true'],
      pidFile,
      cgroupPath: '/group/box',
      log: Promise.resolve(said),
      clock: new FakeClock(),
    });

  it('has the exit code of its command, also one that crun uses too', async () => {
    for (const exitCode of [0, 1, 255]) {
      writeFileSync(pidFile, '12');
      const session = endWith(exitCode, 'a warning');
      assert.equal(await session.exitCode, exitCode);
      assert.equal(await text(session.stderr), '');
      assert.equal(existsSync(pidFile), false);
    }
  });

  it('says what crun says when that could not run it, whatever crun ends with', async () => {
    for (const exitCode of [1, 255]) {
      const session = endWith(exitCode, '{"msg":"the container `box` is not running"}');
      assert.equal(await session.exitCode, 126);
      assert.equal(await text(session.stderr), 'the container `box` is not running\n');
      assert.match(session.failure ?? '', /is not running/);
    }
  });

  it('keeps the exit code of a crun that was killed before it said anything', async () => {
    assert.equal(await endWith(137, '').exitCode, 137);
  });
});
