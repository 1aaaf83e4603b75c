import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { ExitCodeError, exitCodeOf, UsageError } from '../../../../cli/failure.js';

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
