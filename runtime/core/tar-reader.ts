import { HatobaError } from '../../common/errors.js';
import {
  TAR_BLOCK_BYTES,
  byteString,
  byteText,
  parsePaxRecords,
  parseTarHeader,
  sparseMapOf,
  storedSize,
  toTarEntry,
  type PaxRecords,
  type TarEntry,
  type TarHeader,
} from './tar-header.js';
import { SparseContent, type SparseMapReader, type SparsePiece } from './tar-sparse.js';

/** What comes out of a tar, in order: entry, its content and holes (files only), entry-end. */
export type TarEvent =
  | { readonly type: 'entry'; readonly entry: TarEntry }
  /**
   * Content is a view of the bytes pushed: used, or copied, before the next push. Holes are in sparse
   * files only, and have the length they say.
   */
  | SparsePiece
  | { readonly type: 'entry-end' };

/** A PAX or GNU extension header larger than this is an attack. */
const MAX_EXTENSION_BYTES = 1024 * 1024;
const NO_PAX: PaxRecords = new Map();
const EMPTY = new Uint8Array(0);

/**
 * Takes a tar apart as its bytes arrive; holds at most one header, one extension and one map of a sparse file in memory.
 * 1. Bytes are read once, in order; events of one push are those that its bytes complete.
 * 2. Everything after the first block of zeros is ignored.
 * 3. PAX global headers are ignored, as Docker does: they could rename every entry.
 */
export class TarReader {
  /** Bytes of an incomplete header or extension. */
  #held: Uint8Array = EMPTY;
  #longName: string | undefined;
  #longLink: string | undefined;
  #pax: PaxRecords = NO_PAX;
  #extension: { type: string; sizeBytes: number } | undefined;
  /** A sparse file whose map is not whole yet. */
  #mapping: { entry: TarEntry; map: SparseMapReader; storedBytes: number } | undefined;
  #current: { name: string; leftBytes: number; sparse: SparseContent | undefined } | undefined;
  #skipBytes = 0;
  #ended = false;

  /** @throws {HatobaError} invalid-argument where the tar is malformed */
  *push(chunk: Uint8Array): Generator<TarEvent, void, void> {
    let at = 0;
    while (at < chunk.length && !this.#ended) {
      if (this.#current !== undefined) {
        const piece = chunk.subarray(at, at + this.#current.leftBytes);
        at += piece.length;
        this.#current.leftBytes -= piece.length;
        const { sparse } = this.#current;
        if (sparse === undefined) yield { type: 'content', bytes: piece };
        else yield* sparse.take(piece);
        if (this.#current.leftBytes === 0) yield* this.#endEntry(this.#current);
      } else if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= skipped;
        at += skipped;
      } else {
        const wanted = this.#extension?.sizeBytes ?? TAR_BLOCK_BYTES;
        const piece = chunk.subarray(at, at + wanted - this.#held.length);
        at += piece.length;
        this.#held = this.#held.length === 0 ? piece : concat(this.#held, piece);
        if (this.#held.length === wanted) yield* this.#takeHeld();
      }
    }
    // what is kept beyond this call must not be a view of the caller's buffer
    if (this.#held.length > 0) this.#held = this.#held.slice();
  }

  /** Tells that no bytes are left. @throws {HatobaError} invalid-argument inside an entry */
  end(): void {
    if (this.#current !== undefined) {
      throw malformed(`the tar ends in the middle of "${byteText(this.#current.name)}"`);
    }
    const isWithin =
      this.#held.length > 0 || this.#extension !== undefined || this.#mapping !== undefined;
    if (!this.#ended && isWithin) {
      throw malformed('the tar ends in the middle of a header');
    }
  }

  *#takeHeld(): Generator<TarEvent, void, void> {
    const block = this.#held;
    this.#held = EMPTY;
    if (this.#extension !== undefined) {
      this.#takeExtension(this.#extension.type, block);
      return;
    }
    if (this.#mapping !== undefined) {
      yield* this.#takeMap(this.#mapping, block);
      return;
    }
    const header = parseTarHeader(block);
    if (header === undefined) this.#ended = true;
    else if ('xgLK'.includes(header.type)) this.#expectExtension(header);
    else if (header.type === 'V') this.#skipBytes = padded(header.sizeBytes);
    else yield* this.#beginEntry(header);
  }

  #expectExtension(header: TarHeader): void {
    if (header.type === 'g') {
      this.#skipBytes = padded(header.sizeBytes);
      return;
    }
    if (header.sizeBytes > MAX_EXTENSION_BYTES) {
      throw malformed(`an extended header has ${header.sizeBytes} bytes`);
    }
    this.#extension = { type: header.type, sizeBytes: header.sizeBytes };
    if (header.sizeBytes === 0) this.#takeExtension(header.type, EMPTY);
  }

  #takeExtension(type: string, content: Uint8Array): void {
    this.#extension = undefined;
    this.#skipBytes = padded(content.length) - content.length;
    if (type === 'x') this.#pax = parsePaxRecords(content);
    else if (type === 'L') this.#longName = byteString(content);
    else this.#longLink = byteString(content);
  }

  *#beginEntry(header: TarHeader): Generator<TarEvent, void, void> {
    const extensions = {
      pax: this.#pax,
      ...(this.#longName === undefined ? {} : { longName: this.#longName }),
      ...(this.#longLink === undefined ? {} : { longLink: this.#longLink }),
    };
    const entry = toTarEntry(header, extensions);
    this.#pax = NO_PAX;
    this.#longName = this.#longLink = undefined;
    if (entry.kind !== 'file') {
      yield* this.#open(entry, 0, undefined);
      return;
    }
    const storedBytes = storedSize(header, extensions);
    const map = sparseMapOf(header, extensions);
    if (map === undefined) yield* this.#open(entry, storedBytes, undefined);
    else if (map.isWhole) yield* this.#open(entry, storedBytes, map);
    else this.#mapping = { entry, map, storedBytes };
  }

  *#takeMap(
    mapping: { entry: TarEntry; map: SparseMapReader; storedBytes: number },
    block: Uint8Array,
  ): Generator<TarEvent, void, void> {
    const { entry, map } = mapping;
    map.push(block);
    if (map.isContent) mapping.storedBytes -= TAR_BLOCK_BYTES;
    if (mapping.storedBytes < 0)
      throw malformed('the map of a sparse file is longer than the file');
    if (!map.isWhole) return;
    this.#mapping = undefined;
    yield* this.#open(entry, mapping.storedBytes, map);
  }

  *#open(
    entry: TarEntry,
    storedBytes: number,
    map: SparseMapReader | undefined,
  ): Generator<TarEvent, void, void> {
    const sparse =
      map === undefined ? undefined : new SparseContent(map.parts, entry.sizeBytes, storedBytes);
    const current = { name: entry.name, leftBytes: storedBytes, sparse };
    this.#current = current;
    this.#skipBytes = padded(storedBytes) - storedBytes;
    yield { type: 'entry', entry };
    if (storedBytes === 0) yield* this.#endEntry(current);
  }

  *#endEntry({ sparse }: { sparse: SparseContent | undefined }): Generator<TarEvent, void, void> {
    if (sparse !== undefined) yield* sparse.end();
    this.#current = undefined;
    yield { type: 'entry-end' };
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

function malformed(message: string): HatobaError {
  return new HatobaError('invalid-argument', message);
}
