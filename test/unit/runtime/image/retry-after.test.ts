import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseRetryAfter } from '../../../../runtime/image/retry-after.js';

const NOW = Date.parse('2015-10-21T07:28:00Z');

describe('Retry-After', () => {
  const cases: [string, number | undefined][] = [
    ['120', 120_000],
    [' 0 ', 0],
    ['Wed, 21 Oct 2015 07:29:30 GMT', 90_000],
    ['Wednesday, 21-Oct-15 07:28:01 GMT', 1000],
    ['Wed Oct 21 07:28:02 2015 GMT', 2000],
    ['Tue, 20 Oct 2015 07:28:00 GMT', 0],
    ['', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['1e9', undefined],
    ['soon', undefined],
    ['99999999999999999999', undefined],
  ];
  for (const [header, expected] of cases) {
    it(`"${header}" is ${expected ?? 'nothing'}`, () => {
      assert.equal(parseRetryAfter(header, NOW), expected);
    });
  }

  it('is no negative wait, whatever is there', () => {
    const text = fc.oneof(
      fc.string(),
      fc.date({ noInvalidDate: true }).map((d) => d.toUTCString()),
    );
    fc.assert(
      fc.property(text, fc.nat(), (header, nowMs) => {
        const waitMs = parseRetryAfter(header, nowMs);
        assert.ok(waitMs === undefined || (Number.isSafeInteger(waitMs) && waitMs >= 0));
      }),
    );
  });
});
