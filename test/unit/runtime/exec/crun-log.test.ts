import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseCrunLog } from '../../../../runtime/oci/crun.js';

describe('the log of crun', () => {
  it('is its messages', () => {
    const lines = [
      '{"msg":"executable file `x` not found", "level":"error", "time":"now"}',
      'no JSON',
      '{"level":"error"}',
      '',
    ];
    assert.equal(
      parseCrunLog(lines.join('\n')),
      'executable file `x` not found; no JSON; {"level":"error"}',
    );
  });

  it('never fails', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseCrunLog(text)));
  });
});
