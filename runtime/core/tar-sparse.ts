import { HatobaError } from '../../common/errors.js';
import { byteString, tarNumber } from './tar-number.js';

/**
 * Sparse files in tars: the tar holds only the parts of a file that have content, and a map of
 * where they belong. There are four ways to write the map: GNU's old one (type "S"), in the header
 * and blocks after it; PAX 0.0 and 0.1, in PAX records; PAX 1.0, as text before the content.
 * @see GNU tar manual, "Storing Sparse Files"
 */
export interface SparsePart {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Bytes of content, or a hole of so many. */
export type SparsePiece =
  | { readonly type: 'content'; readonly bytes: Uint8Array }
  | { readonly type: 'hole'; readonly sizeBytes: number };

/** A map that is read block by block until it is whole. */
export interface SparseMapReader {
  readonly isWhole: boolean;
  readonly parts: readonly SparsePart[];
  /** Whether its blocks are counted in the entry's size. */
  readonly isContent: boolean;
  /** @param block of 512 bytes */
  push(block: Uint8Array): void;
}

/** A map of more parts than this is an attack: files of terabytes have fewer. */
const MAX_PARTS = 1_000_000;
const MAX_DIGITS = 20;
const NEWLINE = 0x0a;

/** The map of an entry of type "S", whose header is `block`. */
export class OldSparseMap implements SparseMapReader {
  readonly parts: SparsePart[] = [];
  readonly isContent = false;
  readonly realSizeBytes: number;
  #isExtended: boolean;

  constructor(block: Uint8Array) {
    this.realSizeBytes = tarNumber(block, 483, 12);
    this.#take(block, 386, 4);
    this.#isExtended = block[482] === 1;
  }

  get isWhole(): boolean {
    return !this.#isExtended;
  }

  push(block: Uint8Array): void {
    this.#take(block, 0, 21);
    this.#isExtended = block[504] === 1;
  }

  #take(block: Uint8Array, start: number, count: number): void {
    for (let at = start; at < start + count * 24; at += 24) {
      if ((block[at] ?? 0) === 0) return; // an unused place
      addPart(this.parts, tarNumber(block, at, 12), tarNumber(block, at + 12, 12));
    }
  }
}

/** A map in PAX records ("0,512,4096,512"), to which parsePaxRecords brings version 0.0 too. */
export class PaxSparseMap implements SparseMapReader {
  readonly parts: SparsePart[] = [];
  readonly isContent = false;
  readonly isWhole = true;

  constructor(map: Uint8Array) {
    const numbers = byteString(map).split(',');
    if (numbers.length === 1 && numbers[0] === '') return;
    if (numbers.length % 2 !== 0) throw malformed('has an odd number of values');
    for (let i = 0; i < numbers.length; i += 2) {
      addPart(this.parts, decimal(numbers[i]), decimal(numbers[i + 1]));
    }
  }

  push(): void {
    throw malformed('is over');
  }
}

/** The map of PAX 1.0: number of parts, then offset and size of each, a line for each number. */
export class TextSparseMap implements SparseMapReader {
  readonly parts: SparsePart[] = [];
  readonly isContent = true;
  #left: number | undefined;
  #offset: number | undefined;
  #digits = '';

  get isWhole(): boolean {
    return this.#left === 0;
  }

  push(block: Uint8Array): void {
    for (const byte of block) {
      if (this.isWhole) return; // the rest of the block is padding
      if (byte !== NEWLINE) {
        this.#digits += String.fromCharCode(byte);
        if (this.#digits.length > MAX_DIGITS) throw malformed('has a number that is too long');
        continue;
      }
      this.#takeNumber(decimal(this.#digits));
      this.#digits = '';
    }
  }

  #takeNumber(value: number): void {
    if (this.#left === undefined) {
      this.#left = value;
    } else if (this.#offset === undefined) {
      this.#offset = value;
    } else {
      addPart(this.parts, this.#offset, value);
      this.#offset = undefined;
      this.#left--;
    }
  }
}

/**
 * Puts the content of a sparse file in its places: what the tar holds goes in, content and holes
 * come out, in the order of the file.
 */
export class SparseContent {
  readonly #parts: readonly SparsePart[];
  readonly #realSizeBytes: number;
  #part = 0;
  #at = 0;

  /** @throws {HatobaError} invalid-argument when the map does not fit the sizes */
  constructor(parts: readonly SparsePart[], realSizeBytes: number, storedBytes: number) {
    let [end, stored] = [0, 0];
    for (const part of parts) {
      if (part.offset < end) throw malformed('is not in order');
      end = part.offset + part.sizeBytes;
      stored += part.sizeBytes;
    }
    if (end > realSizeBytes || stored !== storedBytes) {
      throw malformed(`describes ${stored} bytes up to ${end}: not what the header says`);
    }
    this.#parts = parts;
    this.#realSizeBytes = realSizeBytes;
  }

  /** @param bytes stored content; never more in total than the map describes */
  *take(bytes: Uint8Array): Generator<SparsePiece, void, void> {
    for (let taken = 0; taken < bytes.length;) {
      const part = this.#parts[this.#part];
      if (part === undefined) throw malformed('ends before the content');
      yield* this.#skipTo(part.offset);
      const left = part.offset + part.sizeBytes - this.#at;
      const piece = bytes.subarray(taken, taken + left);
      if (piece.length === left) this.#part++;
      if (piece.length === 0) continue;
      taken += piece.length;
      this.#at += piece.length;
      yield { type: 'content', bytes: piece };
    }
  }

  /** The hole after the last content. */
  *end(): Generator<SparsePiece, void, void> {
    yield* this.#skipTo(this.#realSizeBytes);
  }

  *#skipTo(offset: number): Generator<SparsePiece, void, void> {
    const sizeBytes = offset - this.#at;
    if (sizeBytes <= 0) return;
    this.#at = offset;
    yield { type: 'hole', sizeBytes };
  }
}

function addPart(parts: SparsePart[], offset: number, sizeBytes: number): void {
  if (offset < 0 || sizeBytes < 0 || !Number.isSafeInteger(offset + sizeBytes)) {
    throw malformed('has a number that is out of range');
  }
  if (parts.length >= MAX_PARTS) throw malformed(`has more than ${MAX_PARTS} parts`);
  // GNU tar ends maps with an empty part; a part of nothing says nothing
  if (sizeBytes > 0) parts.push({ offset, sizeBytes });
}

function decimal(text: string | undefined): number {
  const value = Number(text);
  if (text === undefined || !/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw malformed(`has a value that is no number`);
  }
  return value;
}

function malformed(what: string): HatobaError {
  return new HatobaError('invalid-argument', `the map of a sparse file ${what}`);
}
