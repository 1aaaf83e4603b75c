import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  OldSparseMap,
  PaxSparseMap,
  SparseContent,
  TextSparseMap,
  type SparsePart,
} from '../../../../runtime/core/tar-sparse.js';

/** Parts in order, some touching, some far apart. */
const parts: fc.Arbitrary<SparsePart[]> = fc
  .array(fc.tuple(fc.nat(5000), fc.integer({ min: 1, max: 3000 })), { maxLength: 60 })
  .map((steps) => {
    let at = 0;
    return steps.map(([gap, sizeBytes]) => {
      const offset = at + gap;
      at = offset + sizeBytes;
      return { offset, sizeBytes };
    });
  });

const octal = (value: number): string => `${value.toString(8).padStart(11, '0')}\0`;

/** As GNU tar writes it: four parts in the header, 21 in each block after it. */
function oldMap(list: readonly SparsePart[], realSizeBytes: number): Buffer[] {
  const header = Buffer.alloc(512);
  const fill = (block: Buffer, at: number, some: readonly SparsePart[]): void => {
    some.forEach((part, i) => {
      block.write(octal(part.offset) + octal(part.sizeBytes), at + i * 24, 'latin1');
    });
  };
  header.write(octal(realSizeBytes), 483, 'latin1');
  fill(header, 386, list.slice(0, 4));
  const blocks = [header];
  for (let from = 4; from < list.length; from += 21) {
    blocks[blocks.length - 1]?.writeUInt8(1, from === 4 ? 482 : 504);
    const block = Buffer.alloc(512);
    fill(block, 0, list.slice(from, from + 21));
    blocks.push(block);
  }
  return blocks;
}

function textMap(list: readonly SparsePart[]): Buffer {
  const lines = [list.length, ...list.flatMap((p) => [p.offset, p.sizeBytes])];
  const text = Buffer.from(lines.map((n) => `${n}\n`).join(''));
  return Buffer.concat([text, Buffer.alloc((512 - (text.length % 512)) % 512)]);
}

function blocksOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / 512 }, (_, i) =>
    bytes.subarray(i * 512, (i + 1) * 512),
  );
}

describe('sparse files in tars', () => {
  it('reads the same map from all the ways to write it', () => {
    fc.assert(
      fc.property(parts, (list) => {
        const [header = Buffer.alloc(512), ...more] = oldMap(list, 7);
        const old = new OldSparseMap(header);
        for (const block of more) {
          assert.equal(old.isWhole, false);
          old.push(block);
        }
        assert.deepEqual([old.isWhole, old.realSizeBytes], [true, 7]);
        assert.deepEqual(old.parts, list);

        const text = new TextSparseMap();
        // GNU tar ends some of its maps with an empty part
        for (const block of blocksOf(textMap([...list, part(1_000_000, 0)]))) {
          assert.equal(text.isWhole, false);
          text.push(block);
        }
        assert.equal(text.isWhole, true);
        assert.deepEqual(text.parts, list);

        const records = list.flatMap((p) => [p.offset, p.sizeBytes]).join(',');
        assert.deepEqual(new PaxSparseMap(Buffer.from(records)).parts, list);
      }),
    );
  });

  it('puts every byte in its place, in whatever pieces the content arrives', () => {
    fc.assert(
      fc.property(parts, fc.nat(4000), fc.integer({ min: 1, max: 4000 }), (list, tail, piece) => {
        const stored = Buffer.alloc(list.reduce((sum, p) => sum + p.sizeBytes, 0));
        for (let i = 0; i < stored.length; i++) stored[i] = 1 + (i % 255);
        const last = list.at(-1);
        const size = (last === undefined ? 0 : last.offset + last.sizeBytes) + tail;
        const expected = Buffer.alloc(size);
        let taken = 0;
        for (const { offset, sizeBytes } of list) {
          stored.copy(expected, offset, taken, (taken += sizeBytes));
        }

        const content = new SparseContent(list, size, stored.length);
        const found: Buffer[] = [];
        const take = (pieces: ReturnType<SparseContent['take']>): void => {
          for (const p of pieces) {
            found.push(p.type === 'hole' ? Buffer.alloc(p.sizeBytes) : Buffer.from(p.bytes));
          }
        };
        for (let at = 0; at < stored.length; at += piece) {
          take(content.take(stored.subarray(at, at + piece)));
        }
        take(content.end());
        assert.ok(Buffer.concat(found).equals(expected));
      }),
    );
  });

  const wrong: { name: string; make: () => unknown; message: RegExp }[] = [
    {
      name: 'parts that overlap',
      make: () => new SparseContent([part(0, 10), part(5, 10)], 100, 20),
      message: /not in order/,
    },
    {
      name: 'parts beyond the end',
      make: () => new SparseContent([part(95, 10)], 100, 10),
      message: /10 bytes up to 105/,
    },
    {
      name: 'more or less content than described',
      make: () => new SparseContent([part(0, 10)], 100, 11),
      message: /describes 10 bytes/,
    },
    {
      name: 'half a part',
      make: () => new PaxSparseMap(Buffer.from('0,1,2')),
      message: /odd number/,
    },
    {
      name: 'words',
      make: () => new PaxSparseMap(Buffer.from('0,-1')),
      message: /no number/,
    },
    {
      name: 'numbers without an end',
      make: () => {
        new TextSparseMap().push(Buffer.alloc(512, '9'));
      },
      message: /too long/,
    },
    {
      name: 'more parts than memory should hold',
      make: () => new PaxSparseMap(Buffer.from(`${'0,1,'.repeat(1_000_001)}0,1`)),
      message: /more than 1000000 parts/,
    },
  ];
  for (const { name, make, message } of wrong) {
    it(`refuses ${name}`, () => {
      assert.throws(make, { kind: 'invalid-argument', message });
    });
  }

  it('never fails otherwise than by saying that the map is malformed', () => {
    const blocks = fc.array(fc.uint8Array({ minLength: 512, maxLength: 512 }), { maxLength: 4 });
    fc.assert(
      fc.property(blocks, fc.uint8Array({ maxLength: 60 }), (some, text) => {
        const attempts = [
          () => {
            const map = new TextSparseMap();
            for (const block of some) map.push(block);
          },
          () => {
            const map = new OldSparseMap(some[0] ?? new Uint8Array(512));
            for (const block of some) map.push(block);
          },
          () => new PaxSparseMap(text),
        ];
        for (const attempt of attempts) {
          try {
            attempt();
          } catch (error) {
            assert.equal((error as { kind?: string }).kind, 'invalid-argument');
          }
        }
      }),
    );
  });
});

function part(offset: number, sizeBytes: number): SparsePart {
  return { offset, sizeBytes };
}
