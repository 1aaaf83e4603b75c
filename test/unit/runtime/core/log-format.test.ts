import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  LogDecoder,
  MAX_LINE_BYTES,
  parseTimestampMs,
  type DecodedLine,
} from '../../../../runtime/core/log-format.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const show = (line: DecodedLine): string =>
  `${line.timestampMs} ${line.stream} ${Buffer.from(line.line).toString()}`;

/** What conmon would write for lines that each arrive in some pieces. */
function record(timeMs: number, stream: string, pieces: readonly string[]): string {
  return pieces
    .map((piece, index) => {
      const tag = index === pieces.length - 1 ? 'F' : 'P';
      return `${new Date(timeMs).toISOString().replace('Z', '000000+00:00')} ${stream} ${tag} ${piece}\n`;
    })
    .join('');
}

describe('LogDecoder', () => {
  it('joins the pieces of a line, stream by stream', () => {
    const decoder = new LogDecoder();
    const lines = decoder.push(
      bytes(
        '2025-01-02T03:04:05.678901234+00:00 stdout P a\n' +
          '2025-01-02T03:04:06.000000000+00:00 stderr F x\n' +
          '2025-01-02T03:04:07.000000000+00:00 stdout F b c\n',
      ),
    );
    assert.deepEqual(lines.map(show), ['1735787046000 stderr x', '1735787045678 stdout ab c']);
  });

  it('gives out what has no line end when flushed', () => {
    const decoder = new LogDecoder();
    assert.deepEqual(decoder.push(bytes('2025-01-02T03:04:05.0+00:00 stdout P half\n')), []);
    assert.deepEqual(decoder.flush().map(show), ['1735787045000 stdout half']);
    assert.deepEqual(decoder.flush(), []);
  });

  it('passes over what makes no sense', () => {
    const decoder = new LogDecoder();
    const lines = decoder.push(
      bytes('\0\0\0\nnonsense\n2025-01-02T03:04:05Z stdin F a\n2025-01-02T03:04:05Z stdout F ok\n'),
    );
    assert.deepEqual(lines.map(show), ['1735787045000 stdout ok']);
  });

  it('passes over a record that is longer than a line may be, without keeping it', () => {
    const decoder = new LogDecoder();
    const parts = ['2025-01-02T03:04:05Z stdout F ', ...Array<string>(3).fill('x'.repeat(5e5))];
    for (const part of parts) assert.deepEqual(decoder.push(bytes(part)), []);
    const lines = decoder.push(bytes('x\n2025-01-02T03:04:05Z stdout F ok\n'));
    assert.deepEqual(lines.map(show), ['1735787045000 stdout ok']);
  });

  it('bounds what one line may hold', () => {
    const decoder = new LogDecoder();
    const piece = 'x'.repeat(8192);
    const lines = Array.from({ length: 130 }, () =>
      decoder.push(bytes(`2025-01-02T03:04:05Z stdout P ${piece}\n`)),
    ).flat();
    assert.deepEqual(
      lines.map((l) => l.line.length),
      [MAX_LINE_BYTES],
    );
  });

  it('gives the same lines however the file is cut into chunks', () => {
    const piece = fc.string({ unit: 'binary' }).map((s) => s.replaceAll('\n', ''));
    const line = fc.record({
      timeMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
      stream: fc.constantFrom('stdout', 'stderr'),
      pieces: fc.array(piece, { minLength: 1, maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat(200)), (lines, cuts) => {
        const file = bytes(lines.map((l) => record(l.timeMs, l.stream, l.pieces)).join(''));
        const decoder = new LogDecoder();
        const decoded: DecodedLine[] = [];
        let from = 0;
        for (const cut of [...cuts, file.length]) {
          decoded.push(...decoder.push(file.subarray(from, from + cut)));
          from += cut;
        }
        assert.deepEqual(
          decoded.map((d) => [d.timestampMs, d.stream, Buffer.from(d.line)]),
          lines.map((l) => [l.timeMs, l.stream, Buffer.from(l.pieces.join(''))]),
        );
      }),
    );
  });
});

describe('parseTimestampMs', () => {
  it('agrees with Date for every time and offset', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -2_000_000_000_000, max: 8_000_000_000_000 }),
        fc.integer({ min: -14 * 60, max: 14 * 60 }),
        (timeMs, offsetMin) => {
          const abs = Math.abs(offsetMin);
          const pad = (n: number): string => String(n).padStart(2, '0');
          const offset = `${offsetMin < 0 ? '-' : '+'}${pad(Math.floor(abs / 60))}:${pad(abs % 60)}`;
          const local = new Date(timeMs + offsetMin * 60_000).toISOString().replace('Z', offset);
          assert.equal(parseTimestampMs(local), timeMs);
        },
      ),
    );
  });

  it('knows what is none', () => {
    for (const text of ['', 'now', '2025-01-02', '2025-01-02T03:04:05']) {
      assert.equal(parseTimestampMs(text), undefined);
    }
  });
});
