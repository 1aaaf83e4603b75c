import { ftruncateSync, writeSync } from 'node:fs';

/** Files are looked through for zeros by blocks of the disk; a run of so many becomes a hole. */
const BLOCK_BYTES = 4096;
const MIN_HOLE_BLOCKS = 8;
const ZEROS = new Uint8Array(BLOCK_BYTES);

/** Writes a new file from its start to its end, leaving out what is zero. All calls block. */
export class SparseFile {
  readonly #fd: number;
  #at = 0;
  /** Length of what is on disk: what lies between it and `#at` is a hole not made yet. */
  #sizeBytes = 0;

  /** @param fd of an empty file; stays the caller's */
  constructor(fd: number) {
    this.#fd = fd;
  }

  write(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const hole = findHole(bytes, from, this.#at);
      this.#writeAll(bytes.subarray(from, hole.start));
      this.#at += hole.end - hole.start;
      from = hole.end;
    }
  }

  skip(sizeBytes: number): void {
    this.#at += sizeBytes;
  }

  /** Gives the file its length, when it ends with a hole. */
  finish(): void {
    if (this.#at > this.#sizeBytes) ftruncateSync(this.#fd, this.#at);
  }

  #writeAll(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    for (let done = 0; done < bytes.length;) {
      const written = writeSync(this.#fd, bytes, done, bytes.length - done, this.#at);
      done += written;
      this.#at += written;
    }
    this.#sizeBytes = this.#at;
  }
}

/**
 * The first run of zeros worth leaving out, in what comes after `from` and belongs to `at` in the
 * file; an empty one at the end of the bytes when there is none.
 */
function findHole(bytes: Uint8Array, from: number, at: number): { start: number; end: number } {
  let start = from + ((BLOCK_BYTES - (at % BLOCK_BYTES)) % BLOCK_BYTES);
  let end = start;
  while (end + BLOCK_BYTES <= bytes.length) {
    if (isZero(bytes, end)) {
      end += BLOCK_BYTES;
      continue;
    }
    if (end - start >= MIN_HOLE_BLOCKS * BLOCK_BYTES) return { start, end };
    start = end += BLOCK_BYTES;
  }
  if (end - start >= MIN_HOLE_BLOCKS * BLOCK_BYTES) return { start, end };
  return { start: bytes.length, end: bytes.length };
}

function isZero(bytes: Uint8Array, from: number): boolean {
  if (bytes[from] !== 0) return false;
  return Buffer.compare(bytes.subarray(from, from + BLOCK_BYTES), ZEROS) === 0;
}
