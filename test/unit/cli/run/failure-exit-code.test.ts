import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { ExitCodeError, exitCodeOf, UsageError } from '../../../../cli/failure.js';
import { failureExitCode } from '../../../../cli/run/run-container.js';
import { explainStartFailure } from '../../../../runtime/core/start-failure.js';

describe('exit code of a run whose container could not be made', () => {
  // What the engine says, from what crun says: both ends of the wire must agree on the words.
  const cases: [string, number][] = [
    ['executable file `web` not found in $PATH: No such file or directory', 127],
    ['open executable: Permission denied', 126],
    ['image "web:1" is not on this machine; pull or load it first', 125],
    ['/run/x.sock: permission denied', 125],
  ];
  for (const [said, exitCode] of cases) {
    it(`${exitCode}: ${said}`, () => {
      const reason = explainStartFailure(`creating container c: ${said}`, 'web');
      assert.equal(failureExitCode(reason), exitCode);
    });
  }
});

describe('exitCodeOf', () => {
  const away = new HatobaError('unavailable', 'no agent answers');
  const cases: [error: unknown, command: string, exitCode: number][] = [
    [away, 'ps', 1],
    [new UsageError('no container is named'), 'rm', 2],
    [new HatobaError('not-found', 'no container is called web'), 'rm', 4],
    [away, 'run', 125],
    [new UsageError('wrong flag'), 'run', 125],
    [new ExitCodeError(4), 'run', 4],
    [new HatobaError('cancelled', 'Ctrl-C'), 'run', 130],
  ];
  for (const [error, command, exitCode] of cases) {
    it(`${command}: ${String(error)} is ${exitCode}`, () => {
      assert.equal(exitCodeOf(error, command), exitCode);
    });
  }
});
