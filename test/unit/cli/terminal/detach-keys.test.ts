import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  DEFAULT_DETACH_KEYS,
  DetachScanner,
  parseDetachKeys,
} from '../../../../cli/terminal/detach-keys.js';

describe('detach keys', () => {
  const cases = [
    { text: DEFAULT_DETACH_KEYS, bytes: [0x10, 0x11] },
    { text: 'ctrl-@,ctrl-A,ctrl-z,ctrl-[', bytes: [0, 1, 26, 27] },
    { text: 'ctrl-\\,ctrl-],ctrl-^,ctrl-_', bytes: [28, 29, 30, 31] },
    { text: 'a,B,~', bytes: [0x61, 0x42, 0x7e] },
  ];
  for (const { text, bytes } of cases) {
    it(`"${text}" are ${bytes.join(' ')}`, () => {
      assert.deepEqual([...parseDetachKeys(text)], bytes);
    });
  }

  for (const text of ['', 'ctrl-', 'ctrl-1', 'ctrl-pp', 'ab', 'a,', ',', ' ', 'é']) {
    it(`"${text}" are refused, saying what would be right`, () => {
      assert.throws(() => parseDetachKeys(text), {
        kind: 'invalid-argument',
        message: /ctrl-p,ctrl-q/,
      });
    });
  }

  it('any text is either keys, one byte each, or refused', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          assert.equal(parseDetachKeys(text).length, text.split(',').length);
        } catch (error) {
          assert.equal((error as { kind: string }).kind, 'invalid-argument');
        }
      }),
    );
  });

  // Few different bytes, so that beginnings of the keys are common.
  const typed = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 40 });
  const keys = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 5 });

  it('pass on what comes before them, however it is cut into pieces', () => {
    fc.assert(
      fc.property(keys, fc.array(typed), (key, pieces) => {
        const all = Buffer.from(pieces.flat());
        const at = all.indexOf(Buffer.from(key));
        const { passed, isDetached, held } = scanAll(key, pieces);
        assert.equal(isDetached, at >= 0);
        if (at >= 0) assert.deepEqual(passed, all.subarray(0, at));
        else assert.deepEqual(Buffer.concat([passed, held]), all);
      }),
      { numRuns: 2000 },
    );
  });

  it('a beginning that does not complete is passed on with what follows', () => {
    const scanner = new DetachScanner(parseDetachKeys(DEFAULT_DETACH_KEYS));
    assert.equal(scanner.scan(Buffer.from('a\x10')).passed.toString(), 'a');
    assert.equal(scanner.scan(Buffer.from('b')).passed.toString(), '\x10b');
  });

  /** What is passed on of some pieces, and what is held back at the end. */
  function scanAll(
    key: readonly number[],
    pieces: readonly (readonly number[])[],
  ): { passed: Buffer; held: Buffer; isDetached: boolean } {
    const scanner = new DetachScanner(Uint8Array.from(key));
    const passed: Buffer[] = [];
    let length = 0;
    for (const piece of pieces) {
      const result = scanner.scan(Uint8Array.from(piece));
      passed.push(result.passed);
      length += piece.length;
      if (result.isDetached) {
        return { passed: Buffer.concat(passed), held: Buffer.alloc(0), isDetached: true };
      }
    }
    const done = Buffer.concat(passed);
    assert.ok(length - done.length < key.length, 'no more is held back than a beginning');
    return {
      passed: done,
      held: Buffer.from(pieces.flat()).subarray(done.length),
      isDetached: false,
    };
  }
});
