import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseContentRange, parseUploadedBytes } from '../../../../runtime/core/content-range.js';

describe('ranges of partial answers', () => {
  it('reads what servers write', () => {
    assert.deepEqual(parseContentRange('bytes 10-99/100'), { start: 10, end: 99, totalBytes: 100 });
    const unknown = { start: 0, end: 0, totalBytes: undefined };
    assert.deepEqual(parseContentRange(' Bytes 0-0/* '), unknown);
    assert.equal(parseUploadedBytes('0-99'), 100);
    assert.equal(parseUploadedBytes('bytes=0-99'), 100);
    assert.equal(parseUploadedBytes('0-0'), 0);
  });

  const wrong = [
    '',
    'bytes */100',
    'bytes 5-4/10',
    'bytes 0-10/10',
    'items 0-1/2',
    'bytes 0-1/2, 3',
  ];
  for (const header of [
    ...wrong,
    'bytes -5-10/20',
    'bytes 0x1-2/3',
    `bytes 0-${'9'.repeat(30)}/*`,
  ]) {
    it(`takes "${header}" for none`, () => {
      assert.equal(parseContentRange(header), undefined);
    });
  }

  it('is what was written, and sound whatever is written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.option(fc.nat()), (start, end, total) => {
        const range = parseContentRange(`bytes ${start}-${end}/${total ?? '*'}`);
        const isSound = start <= end && (total === null || end < total);
        const expected = { start, end, totalBytes: total ?? undefined };
        assert.deepEqual(range, isSound ? expected : undefined);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (header) => {
        const bytes = parseUploadedBytes(header);
        assert.ok(bytes === undefined || Number.isSafeInteger(bytes));
        const range = parseContentRange(header);
        assert.ok(range === undefined || range.start <= range.end);
      }),
    );
  });
});
