import assert from 'node:assert/strict';
import fc from 'fast-check';
import { interpolate } from '../../../../cli/compose/interpolate.js';

const VARIABLES = { A: 'a', EMPTY: '', B: 'b' };

describe('interpolate', () => {
  const cases: [string, string][] = [
    ['plain', 'plain'],
    ['$A-${B}', 'a-b'],
    ['$$A costs $$5', '$A costs $5'],
    ['${UNSET}', ''],
    ['${UNSET:-x}', 'x'],
    ['${EMPTY:-x}', 'x'],
    ['${EMPTY-x}', ''],
    ['${UNSET-x}', 'x'],
    ['${A:+other}', 'other'],
    ['${EMPTY:+other}', ''],
    ['${EMPTY+other}', 'other'],
    ['${UNSET:-${A}-${B:-c}}', 'a-b'],
    ['${A:?must be set}', 'a'],
    ['${UNSET:-}', ''],
    ['${UNSET:-a:b}', 'a:b'],
  ];
  for (const [text, expected] of cases) {
    it(`${text} → ${expected}`, () => {
      assert.equal(interpolate(text, VARIABLES), expected);
    });
  }

  const mistakes: [string, RegExp][] = [
    ['${UNSET:?say which}', /variable UNSET: say which/],
    ['${EMPTY:?}', /variable EMPTY: is not set/],
    ['${A', /write \$\$ for a dollar sign/],
    ['${}', /write \$\$/],
    ['$ 5', /write \$\$/],
    ['${A!x}', /write \$\$/],
  ];
  for (const [text, expected] of mistakes) {
    it(`refuses ${text}`, () => {
      assert.throws(() => interpolate(text, VARIABLES), expected);
    });
  }

  it('leaves text without a dollar sign alone, and never hangs', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const escaped = text.replaceAll('$', '$$$$');
        assert.equal(interpolate(escaped, VARIABLES), text);
        try {
          interpolate(text, VARIABLES);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }),
    );
  });
});
