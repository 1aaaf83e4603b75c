import assert from 'node:assert/strict';
import { InvalidArgumentError } from 'commander';
import { positiveDurationOption } from '../../../cli/commands/options.js';

describe('a flag that takes a duration above 0', () => {
  it('takes it in Docker’s words', () => {
    assert.equal(positiveDurationOption('1m30s'), 90_000);
  });

  for (const text of ['0', '0s', '0.1ms', '5', 'soon', '']) {
    it(`refuses "${text}"`, () => {
      assert.throws(() => positiveDurationOption(text), InvalidArgumentError);
    });
  }
});
