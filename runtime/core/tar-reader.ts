import { HatobaError } from '../../common/errors.js';
import {
  TAR_BLOCK_BYTES,
  byteString,
  byteText,
  parsePaxRecords,
  parseTarHeader,
  toTarEntry,
  type PaxRecords,
  type TarEntry,
  type TarHeader,
} from './tar-header.js';

/** What comes out of a tar, in order: entry, its content in pieces (files only), entry-end. */
export type TarEvent =
  | { readonly type: 'entry'; readonly entry: TarEntry }
  /** A view of the bytes pushed: used, or copied, before the next push. */
  | { readonly type: 'content'; readonly bytes: Uint8Array }
  | { readonly type: 'entry-end' };

/** A PAX or GNU extension header larger than this is an attack. */
const MAX_EXTENSION_BYTES = 1024 * 1024;
const NO_PAX: PaxRecords = new Map();
const EMPTY = new Uint8Array(0);

/**
 * Takes a tar apart as its bytes arrive; holds at most one header and one extension in memory.
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
  #current: { name: string; leftBytes: number } | undefined;
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
        yield { type: 'content', bytes: piece };
        if (this.#current.leftBytes === 0) yield this.#endEntry();
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
    if (!this.#ended && (this.#held.length > 0 || this.#extension !== undefined)) {
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
    const entry = toTarEntry(header, {
      pax: this.#pax,
      ...(this.#longName === undefined ? {} : { longName: this.#longName }),
      ...(this.#longLink === undefined ? {} : { longLink: this.#longLink }),
    });
    const { sizeBytes } = entry;
    this.#pax = NO_PAX;
    this.#longName = this.#longLink = undefined;
    this.#current = { name: entry.name, leftBytes: sizeBytes };
    this.#skipBytes = padded(sizeBytes) - sizeBytes;
    yield { type: 'entry', entry };
    if (sizeBytes === 0) yield this.#endEntry();
  }

  #endEntry(): TarEvent {
    this.#current = undefined;
    return { type: 'entry-end' };
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
