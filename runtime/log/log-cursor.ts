import { open, type FileHandle } from 'node:fs/promises';
import { errnoOf } from '../../common/errors.js';
import { LogDecoder, type DecodedLine } from '../core/log-format.js';
import { listLogFiles, type LogFile } from './log-files.js';

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Reads a container's log from file to file, oldest first, while it is written and rotated.
 *
 * The file read from is known by its open descriptor, so renaming it makes no difference. It is left
 * for the next one only when a younger file exists: conmon opens that one after its last write into
 * the older.
 */
export class LogCursor implements AsyncDisposable {
  readonly #log: string;
  readonly #decoder = new LogDecoder();
  #file: { handle: FileHandle; inode: number; offset: number } | undefined;

  constructor(log: string) {
    this.#log = log;
  }

  /**
   * Begins at the first record within the last `bytes` of the log.
   * @returns whether that is the beginning of the log
   */
  async seekToLast(bytes: number): Promise<boolean> {
    const files = listLogFiles(this.#log);
    let missing = bytes;
    for (const file of files.toReversed()) {
      missing -= file.sizeBytes;
      if (missing > 0) continue;
      if (!(await this.#open(file)) || this.#file === undefined) return true;
      this.#file.offset = -missing;
      if (missing < 0) await this.#skipRecord();
      return missing === 0 && file === files[0];
    }
    return true;
  }

  /** The next lines; empty at the present end of the log. */
  async read(): Promise<DecodedLine[]> {
    for (;;) {
      const chunk = await this.#readChunk();
      if (chunk.length === 0) {
        if (await this.#openNext()) continue;
        return [];
      }
      const lines = this.#decoder.push(chunk);
      if (lines.length > 0) return lines;
    }
  }

  /** What was written last without a line end; for a log that will not grow. */
  flush(): DecodedLine[] {
    return this.#decoder.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close();
  }

  async #readChunk(): Promise<Uint8Array> {
    const file = this.#file;
    if (file === undefined) return new Uint8Array(0);
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await file.handle.read(buffer, 0, CHUNK_BYTES, file.offset);
    file.offset += bytesRead;
    return buffer.subarray(0, bytesRead);
  }

  /** To behind the next record end. */
  async #skipRecord(): Promise<void> {
    for (;;) {
      const chunk = await this.#readChunk();
      const end = chunk.indexOf(NEWLINE);
      if (this.#file === undefined || chunk.length === 0) return;
      if (end < 0) continue;
      this.#file.offset -= chunk.length - end - 1;
      return;
    }
  }

  /** @returns whether there may be more to read: false at the end of the youngest file */
  async #openNext(): Promise<boolean> {
    const files = listLogFiles(this.#log);
    const at = files.findIndex((f) => f.inode === this.#file?.inode);
    // Not found: rotated away while we were slow; the oldest that is left comes next.
    const next = files[at + 1];
    if (next === undefined) return false;
    // The older file may have grown between our last read and the opening of the younger.
    if (this.#file !== undefined) {
      const { size } = await this.#file.handle.stat();
      if (size > this.#file.offset) return true;
    }
    await this.#open(next);
    // Not opened: a rotation came between; the next round lists again.
    return true;
  }

  async #open(next: LogFile): Promise<boolean> {
    let handle: FileHandle;
    try {
      handle = await open(next.path, 'r');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
    let isTaken = false;
    try {
      const { ino } = await handle.stat();
      if (ino !== next.inode) return false;
      await this.#file?.handle.close();
      this.#file = { handle, inode: ino, offset: 0 };
      return (isTaken = true);
    } finally {
      if (!isTaken) await handle.close();
    }
  }
}
