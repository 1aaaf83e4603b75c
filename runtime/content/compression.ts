import { spawn, type ChildProcess } from 'node:child_process';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { HatobaError, errnoOf } from '../../common/errors.js';

/** Large pieces: what costs time is the number of turns, not of bytes. */
const CHUNK_BYTES = 256 * 1024;
const PEEK_BYTES = 6;

/** Debian's package zstd: Node can read that only from 22.15 on. */
const ZSTD = '/usr/bin/zstd';
const MAX_COMPLAINT_CHARS = 500;

/**
 * What a stream holds, decompressed if it is compressed; told by its first bytes, not by a media
 * type, because archives of `docker save` have none and registries' are often wrong.
 * @throws {HatobaError} failed-precondition for a compression this Node cannot read;
 *   invalid-argument for damaged data
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { head, whole, leave } = await peek(source);
  const decoder = await decoderOrLeave(head, leave);
  if (decoder === undefined) yield* whole;
  else if (decoder === 'zstd') yield* throughZstd(whole);
  else yield* throughDecoder(whole, decoder);
}

async function* throughDecoder(
  whole: AsyncIterable<Uint8Array>,
  decoder: Transform,
): AsyncGenerator<Uint8Array> {
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

/** A source that is not going to be read is told so: it may have a file or a connection open. */
async function decoderOrLeave(
  head: Uint8Array,
  leave: () => Promise<void>,
): Promise<ReturnType<typeof decoderFor>> {
  try {
    return decoderFor(head);
  } catch (error) {
    await leave();
    throw error;
  }
}

interface Peeked {
  readonly head: Uint8Array;
  readonly whole: AsyncGenerator<Uint8Array>;
  /** Instead of reading `whole`, which does nothing before it is begun. */
  readonly leave: () => Promise<void>;
}

async function peek(source: AsyncIterable<Uint8Array>): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < PEEK_BYTES) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  const leave = async (): Promise<void> => {
    await iterator.return?.();
  };
  return { head: Buffer.concat(first), whole: resume(first, iterator), leave };
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

function decoderFor(head: Uint8Array): Transform | 'zstd' | undefined {
  const startsWith = (...magic: readonly number[]): boolean => magic.every((b, i) => head[i] === b);
  if (startsWith(0x1f, 0x8b)) return zlib.createGunzip({ chunkSize: CHUNK_BYTES });
  if (startsWith(0x28, 0xb5, 0x2f, 0xfd)) return zstdDecoder();
  if (startsWith(0x42, 0x5a, 0x68)) throw unreadable('bzip2');
  if (startsWith(0xfd, 0x37, 0x7a, 0x58, 0x5a)) throw unreadable('xz');
  return undefined;
}

/** Node's own where it has one, else the program. */
function zstdDecoder(): Transform | 'zstd' {
  const create: unknown = Reflect.get(zlib, 'createZstdDecompress');
  return typeof create === 'function' ? (create as () => Transform)() : 'zstd';
}

/** By the program zstd, which reads no faster than its output is taken. */
async function* throughZstd(whole: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const child = spawn(ZSTD, ['--decompress', '--stdout', '--quiet'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { LC_ALL: 'C' },
  });
  const ended = exitOf(child);
  ended.catch(() => undefined); // told below, when the output has ended
  const fed = pipeline(Readable.from(whole, { objectMode: false }), child.stdin).catch(
    // a source that fails is told below; a program that has enough does not read to the end
    (error: unknown) => (isClosedPipe(error) ? undefined : error),
  );
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, MAX_COMPLAINT_CHARS);
  });
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const exitCode = await ended;
    const failure = await fed;
    if (failure !== undefined) throw failure as Error;
    if (exitCode !== 0) {
      const cause = new Error(complaint.trim() || `zstd ended with ${exitCode}`);
      throw new HatobaError('invalid-argument', 'the compressed data is damaged', { cause });
    }
  } finally {
    child.kill('SIGKILL');
    await Promise.allSettled([ended, fed]);
  }
}

/** @throws {HatobaError} failed-precondition where the program is not */
async function exitOf(child: ChildProcess): Promise<number> {
  return await new Promise((resolve, reject) => {
    child.once('close', (code) => {
      resolve(code ?? 1);
    });
    child.once('error', (error) => {
      if (errnoOf(error) !== 'ENOENT') reject(error);
      const hint = `install the package zstd, or run Hatoba on Node 22.15 or later`;
      const text = `a layer is compressed with zstd, and ${ZSTD} is not here: ${hint}`;
      reject(new HatobaError('failed-precondition', text));
    });
  });
}

function isClosedPipe(error: unknown): boolean {
  return ['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET'].includes(errnoOf(error) ?? '');
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
