import assert from 'node:assert/strict';
import {
  explainStartFailure,
  isCommandFailure,
  startFailureExitCode,
} from '../../../../runtime/core/start-failure.js';

describe('why a container does not start', () => {
  const cases: [string, string, number, string][] = [
    [
      'executable file `web` not found in $PATH: No such file or directory',
      'exec: "web": executable file not found in $PATH',
      127,
      'not found',
    ],
    ['open executable: Permission denied', 'exec: "web": permission denied', 126, 'not executable'],
    ['open executable: Operation not permitted', 'exec: "web": permission denied', 126, 'a folder'],
    [
      'mount `proc` to `proc`: No such device',
      'mount `proc` to `proc`: No such device',
      128,
      'else',
    ],
  ];
  for (const [said, expected, exitCode, name] of cases) {
    it(name, () => {
      const explained = explainStartFailure(`creating container c: ${said}`, 'web');
      assert.equal(explained, `creating container c: ${expected}`);
      assert.equal(startFailureExitCode(explained), exitCode);
      assert.equal(isCommandFailure(explained), exitCode !== 128);
    });
  }

  it('keeps a command that looks like a pattern', () => {
    const said = 'executable file `$&` not found in $PATH: No such file or directory';
    assert.match(explainStartFailure(said, '$&'), /^exec: "\$&": /);
  });
});
