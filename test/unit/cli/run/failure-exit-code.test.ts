import assert from 'node:assert/strict';
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
