import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { decompress } from '../../../../runtime/content/compression.js';
import { streamOf } from '../../../support/image-fixtures.js';
import { requiresCommand } from '../../../support/requires.js';

function zstd(content: Buffer, ...flags: string[]): Buffer {
  return spawnSync('zstd', ['-q', '-c', ...flags], { input: content, maxBuffer: 1e9 }).stdout;
}

async function read(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of decompress(source)) parts.push(part);
  return Buffer.concat(parts);
}

describe('decompression', () => {
  before(function () {
    requiresCommand(this, 'zstd');
  });

  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7));

  for (const [name, pack] of [
    ['plain', (c: Buffer) => c],
    ['gzip', gzipSync],
    ['zstd', (c: Buffer) => zstd(c)],
    ['zstd of the highest level', (c: Buffer) => zstd(c, '-19')],
    [
      'zstd in several frames',
      (c: Buffer) => Buffer.concat([zstd(c.subarray(0, 9)), zstd(c.subarray(9))]),
    ],
  ] as const) {
    it(`reads ${name}, in pieces of any length`, async () => {
      const packed = pack(content);
      for (const pieceBytes of [1009, 65_536, packed.length]) {
        assert.deepEqual(await read(streamOf(packed, pieceBytes)), content);
      }
    });
  }

  it('takes what is cut short or damaged for that', async () => {
    const packed = zstd(content);
    const damaged = Buffer.from(packed);
    damaged.fill(0xff, 100, 200);
    for (const wrong of [packed.subarray(0, -5), packed.subarray(0, 5), damaged]) {
      await assert.rejects(read(streamOf(wrong)), {
        kind: 'invalid-argument',
        message: 'the compressed data is damaged',
      });
    }
  });

  it('fails with the reason of its source', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield* streamOf(zstd(content).subarray(0, 1000));
      throw new HatobaError('unavailable', 'the line is cut');
    }
    await assert.rejects(read(broken()), { kind: 'unavailable', message: 'the line is cut' });
  });

  it('leaves a source that it cannot read', async () => {
    for (const magic of ['BZh91A', '\xfd7zXZ\0']) {
      let isLeft = false;
      async function* source(): AsyncGenerator<Uint8Array> {
        try {
          yield* streamOf(Buffer.from(magic, 'latin1'));
        } finally {
          isLeft = true;
        }
      }
      await assert.rejects(read(source()), { kind: 'failed-precondition' });
      assert.ok(isLeft, magic);
    }
  });

  it('reads no further than is wanted: a bomb does not go off', async () => {
    const bomb = zstd(Buffer.alloc(400 * 1024 * 1024));
    let bytes = 0;
    for await (const chunk of decompress(streamOf(bomb))) {
      bytes += chunk.length;
      if (bytes > 1024 * 1024) break;
    }
    assert.ok(bytes < 2 * 1024 * 1024);
  });

  it('survives anything behind the magic number', async function () {
    const magic = [0x28, 0xb5, 0x2f, 0xfd];
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (bytes) => {
        try {
          await read(streamOf(Buffer.from([...magic, ...bytes])));
        } catch (error) {
          assert.ok(error instanceof HatobaError && error.kind === 'invalid-argument');
        }
      }),
      { numRuns: 50 },
    );
  });
});
