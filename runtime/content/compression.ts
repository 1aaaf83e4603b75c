import * as zlib from 'node:zlib';
import { Readable, type Transform } from 'node:stream';
import { HatobaError } from '../../common/errors.js';

/** Large pieces: what costs time is the number of turns, not of bytes. */
const CHUNK_BYTES = 256 * 1024;
const PEEK_BYTES = 6;

/**
 * What a stream holds, decompressed if it is compressed; told by its first bytes, not by a media
 * type, because archives of `docker save` have none and registries' are often wrong.
 * @throws {HatobaError} failed-precondition for a compression this Node cannot read;
 *   invalid-argument for damaged data
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(source);
  const decoder = decoderFor(head);
  if (decoder === undefined) {
    yield* whole;
    return;
  }
  const input = Readable.from(whole, { objectMode: false });
  // destroying the decoder with the input's error makes the loop below throw it
  input.on('error', (error) => decoder.destroy(error));
  try {
    for await (const chunk of input.pipe(decoder)) yield chunk as Uint8Array;
  } catch (error) {
    throw isZlibError(error)
      ? new HatobaError('invalid-argument', 'the compressed data is damaged', { cause: error })
      : error;
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

async function peek(
  source: AsyncIterable<Uint8Array>,
): Promise<{ head: Uint8Array; whole: AsyncGenerator<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < PEEK_BYTES) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  return { head: Buffer.concat(first), whole: resume(first, iterator) };
}

async function* resume(
  first: readonly Uint8Array[],
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* first;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}

function decoderFor(head: Uint8Array): Transform | undefined {
  const startsWith = (...magic: readonly number[]): boolean => magic.every((b, i) => head[i] === b);
  if (startsWith(0x1f, 0x8b)) return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  if (startsWith(0x28, 0xb5, 0x2f, 0xfd)) return zstdDecoder();
  if (startsWith(0x42, 0x5a, 0x68)) throw unreadable('bzip2');
  if (startsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a)) throw unreadable('xz');
  return undefined;
}

/** Node has it from 22.15 on. */
function zstdDecoder(): Transform {
  const create: unknown = Reflect.get(zlib, 'createZstdDecompress');
  if (typeof create !== 'function') {
    throw new HatobaError(
      'failed-precondition',
      `a layer is compressed with zstd, which Node ${process.versions.node} cannot read: run Hatoba on Node 22.15 or later, or push the image with gzip layers`,
    );
  }
  return (create as () => Transform)();
}

function unreadable(name: string): HatobaError {
  return new HatobaError(
    'failed-precondition',
    `compression with ${name} is not supported: use gzip, or none`,
  );
}

function isZlibError(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    /^Z(STD)?_/.test(error.code)
  );
}
