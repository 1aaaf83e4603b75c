import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import { digestOfHex, hexOf, isDigest, type Digest } from '../core/digest.js';
import type { ContentStore, ExpectedBlob, StoredBlob } from './content-store.js';
import { explainFullDisk, syncDirectory } from './durable-file.js';
import { Limiter } from './limiter.js';

interface Turns {
  readonly limiter: Limiter;
  users: number;
}

const READ_BYTES = 1024 * 1024;

/**
 * Blobs of which only the beginning has come: `partial/<64 hex of the digest>`, the bytes so far,
 * as long as the file is. The file's modification time is that of the last byte.
 * 1. They outlive the process; what was written last before a power cut may be wrong, which the
 *    digest tells at the end: then the file goes.
 * 2. One transfer at a time writes a blob. remove() leaves alone what is being written.
 */
export class PartialBlobs {
  readonly #dir: string;
  readonly #content: Pick<ContentStore, 'pathOf'>;
  readonly #turns = new Map<Digest, Turns>();

  private constructor(dir: string, content: Pick<ContentStore, 'pathOf'>) {
    this.#dir = dir;
    this.#content = content;
  }

  static async open(root: string, content: Pick<ContentStore, 'pathOf'>): Promise<PartialBlobs> {
    const partials = new PartialBlobs(join(root, 'partial'), content);
    await mkdir(partials.#dir, { recursive: true, mode: 0o700 });
    return partials;
  }

  /**
   * Lets `work` go on with a blob, from the bytes that are here, when nobody else does.
   * @throws what `work` throws: what it wrote is kept; or the signal's reason
   */
  async use<T>(
    expected: ExpectedBlob,
    signal: AbortSignal,
    work: (partial: PartialBlob) => Promise<T>,
  ): Promise<T> {
    const { digest } = expected;
    const turns = this.#turns.get(digest) ?? { limiter: new Limiter(1), users: 0 };
    this.#turns.set(digest, turns);
    turns.users++;
    try {
      return await turns.limiter.run(async () => {
        const partial = await this.#take(expected);
        try {
          await partial.readOn();
          return await work(partial);
        } finally {
          await partial.close();
        }
      }, signal);
    } finally {
      if (--turns.users === 0) this.#turns.delete(digest);
    }
  }

  /** Every interrupted transfer, in no order. */
  async list(): Promise<StoredBlob[]> {
    const found: StoredBlob[] = [];
    for (const name of await readdir(this.#dir)) {
      if (!isDigest(`sha256:${name}`)) continue;
      try {
        const { size, mtimeMs } = await stat(join(this.#dir, name));
        found.push({ digest: digestOfHex(name), sizeBytes: size, writtenAtMs: mtimeMs });
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error; // its transfer has ended meanwhile
      }
    }
    return found;
  }

  /** @returns false when it is being written, or is not here */
  async remove(digest: Digest): Promise<boolean> {
    if (this.#turns.has(digest)) return false;
    try {
      await rm(this.#pathOf(digest));
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  async #take(expected: ExpectedBlob): Promise<PartialBlob> {
    const path = this.#pathOf(expected.digest);
    const handle = await open(path, 'a', 0o600);
    const target = this.#content.pathOf(expected.digest);
    return new PartialBlob({ path, handle, expected, target });
  }

  #pathOf(digest: Digest): string {
    return join(this.#dir, hexOf(digest));
  }
}

/** A blob that is being transferred. */
export class PartialBlob {
  readonly #path: string;
  readonly #target: string;
  readonly #handle: FileHandle;
  readonly #expected: ExpectedBlob;
  #hash: Hash = createHash('sha256');
  #sizeBytes = 0;

  constructor(parts: { path: string; target: string; handle: FileHandle; expected: ExpectedBlob }) {
    this.#path = parts.path;
    this.#target = parts.target;
    this.#handle = parts.handle;
    this.#expected = parts.expected;
  }

  /** How much is here: the transfer goes on behind it. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Takes up what an earlier transfer left. */
  async readOn(): Promise<void> {
    for await (const chunk of createReadStream(this.#path, { highWaterMark: READ_BYTES })) {
      this.#hash.update(chunk as Buffer);
      this.#sizeBytes += (chunk as Buffer).length;
    }
    if (this.#sizeBytes > this.#expected.sizeBytes) await this.empty();
  }

  /** @throws {HatobaError} resource-exhausted without disk space: then what is here goes, too */
  async append(chunk: Uint8Array): Promise<void> {
    try {
      await this.#handle.appendFile(chunk);
    } catch (error) {
      await this.empty();
      throw explainFullDisk(error, dirname(this.#path));
    }
    this.#hash.update(chunk);
    this.#sizeBytes += chunk.length;
  }

  /**
   * All bytes have come: gives the blob its name in the content store.
   * @throws {HatobaError} unavailable when they are others than expected; then they are gone
   */
  async finish(): Promise<void> {
    const { digest, sizeBytes } = this.#expected;
    const found = digestOfHex(this.#hash.digest('hex'));
    if (found !== digest || this.#sizeBytes !== sizeBytes) {
      const arrived = `arrived as ${found} of ${this.#sizeBytes} bytes`;
      await this.empty();
      throw new HatobaError('unavailable', `blob ${digest} of ${sizeBytes} bytes ${arrived}`);
    }
    await this.#handle.sync();
    await rename(this.#path, this.#target);
    await syncDirectory(dirname(this.#target));
  }

  /** Throws away what is here. */
  async empty(): Promise<void> {
    await this.#handle.truncate();
    this.#hash = createHash('sha256');
    this.#sizeBytes = 0;
  }

  /** Keeps the bytes that are here; a file without any goes. */
  async close(): Promise<void> {
    await this.#handle.close();
    if (this.#sizeBytes === 0) await rm(this.#path, { force: true });
  }
}
