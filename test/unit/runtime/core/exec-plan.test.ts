import assert from 'node:assert/strict';
import { execFailure, planExecProcess } from '../../../../runtime/core/exec-plan.js';
import { toCapabilitySets } from '../../../../runtime/core/capabilities.js';
import type { OciProcess } from '../../../../runtime/core/oci-spec.js';

const BASE: OciProcess = {
  terminal: true,
  consoleSize: { height: 1, width: 2 },
  user: { uid: 5, gid: 6, additionalGids: [7] },
  args: ['server'],
  env: ['PATH=/bin', 'A=1'],
  cwd: '/srv',
  capabilities: toCapabilitySets(['CAP_CHOWN']),
  rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 2 ** 64 }],
  noNewPrivileges: true,
};
const ALL = new Set(['CAP_SYS_ADMIN', 'CAP_CHOWN']);
const REQUEST = { command: ['sh'], env: [], dir: '', tty: false };

describe('the plan of an exec', () => {
  it('is the container’s process but for the command', () => {
    const { terminal, consoleSize, ...plan } = planExecProcess(BASE, REQUEST, undefined, ALL);
    assert.deepEqual([terminal, consoleSize], [false, undefined]);
    const { terminal: _, consoleSize: __, ...base } = BASE;
    assert.deepEqual(plan, {
      ...base,
      args: ['sh'],
      rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 'unlimited' }],
    });
  });

  it('takes user, home, variables, directory, terminal and size', () => {
    const plan = planExecProcess(
      BASE,
      {
        command: ['id'],
        env: ['A=2', 'B=3'],
        dir: '/tmp',
        tty: true,
        size: { rows: 3, columns: 4 },
      },
      { uid: 33, gid: 34, additionalGids: [35], home: '/home/web' },
      ALL,
    );
    assert.deepEqual(plan.user, { uid: 33, gid: 34, additionalGids: [35] });
    assert.deepEqual(plan.env, ['PATH=/bin', 'A=2', 'HOME=/home/web', 'TERM=xterm', 'B=3']);
    assert.deepEqual([plan.cwd, plan.terminal], ['/tmp', true]);
    assert.deepEqual(plan.consoleSize, { height: 3, width: 4 });
  });

  it('has all capabilities when privileged', () => {
    const plan = planExecProcess(BASE, { ...REQUEST, privileged: true }, undefined, ALL);
    assert.deepEqual(plan.capabilities.effective, ['CAP_CHOWN', 'CAP_SYS_ADMIN']);
  });

  it('refuses no command and a relative directory', () => {
    for (const wrong of [{ command: [] }, { dir: 'tmp' }]) {
      assert.throws(() => planExecProcess(BASE, { ...REQUEST, ...wrong }, undefined, ALL), {
        kind: 'invalid-argument',
      });
    }
  });

  const failures = [
    { said: 'executable file `x` not found in $PATH: No such file or directory', exitCode: 127 },
    { said: 'open executable: Permission denied', exitCode: 126 },
    { said: 'open executable: Operation not permitted', exitCode: 126 },
    { said: 'chdir `/nowhere`: No such file or directory', exitCode: 126 },
    { said: '', exitCode: 126 },
  ];
  for (const { said, exitCode } of failures) {
    it(`"${said}" is exit code ${exitCode}`, () => {
      assert.equal(execFailure(said, ['x']).exitCode, exitCode);
    });
  }
});
