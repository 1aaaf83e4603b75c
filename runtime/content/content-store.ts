import { createHash, type Hash } from 'node:crypto';
import {
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import { digestOfHex, hexOf, isDigest, type Digest } from '../core/digest.js';
import { explainFullDisk, syncDirectory } from './durable-file.js';
import { removeTree } from './remove-tree.js';

/** No blob is larger: 64 GiB. */
export const MAX_BLOB_BYTES = 64 * 1024 ** 3;

/** What is known of a blob before its bytes are. */
export interface ExpectedBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** A blob that is here. */
export interface StoredBlob extends ExpectedBlob {
  readonly writtenAtMs: number;
}

/**
 * Blobs by digest: `blobs/sha256/<64 hex>`, each written once and never changed.
 * 1. A blob appears under its name only whole, verified and on disk.
 * 2. What is being written lies in `staging/`, which openContentStore empties.
 */
export class ContentStore {
  readonly root: string;
  readonly #blobsDir: string;
  readonly #stagingDir: string;
  #stagedCount = 0;

  private constructor(root: string) {
    this.root = root;
    this.#blobsDir = join(root, 'blobs', 'sha256');
    this.#stagingDir = join(root, 'staging');
  }

  /** Opens, or makes, the store below `root`. */
  static async open(root: string): Promise<ContentStore> {
    const store = new ContentStore(root);
    await removeTree(store.#stagingDir);
    await mkdir(store.#stagingDir, { recursive: true, mode: 0o700 });
    await mkdir(store.#blobsDir, { recursive: true, mode: 0o700 });
    return store;
  }

  pathOf(digest: Digest): string {
    return join(this.#blobsDir, hexOf(digest));
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.stat(digest)) !== undefined;
  }

  /**
   * Reads a small blob whole.
   * @throws {HatobaError} not-found; resource-exhausted when it is larger than `maxBytes`
   */
  async read(digest: Digest, maxBytes: number): Promise<Uint8Array> {
    const path = this.pathOf(digest);
    try {
      const { size } = await stat(path);
      if (size <= maxBytes) return await readFile(path);
      throw new HatobaError('resource-exhausted', `blob ${digest} has ${size} bytes, too many`);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new HatobaError('not-found', `blob ${digest} is not in the content store`);
    }
  }

  /** @returns undefined for a blob that is not here */
  async stat(digest: Digest): Promise<StoredBlob | undefined> {
    try {
      const { size, mtimeMs } = await stat(this.pathOf(digest));
      return { digest, sizeBytes: size, writtenAtMs: mtimeMs };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Every blob, in no order. */
  async list(): Promise<StoredBlob[]> {
    const found: StoredBlob[] = [];
    for (const name of await readdir(this.#blobsDir)) {
      const blob = isDigest(`sha256:${name}`) ? await this.stat(digestOfHex(name)) : undefined;
      if (blob !== undefined) found.push(blob);
    }
    return found;
  }

  /** Deletes a blob that nobody holds (see leases.ts). Not here: success. */
  async remove(digest: Digest): Promise<void> {
    await rm(this.pathOf(digest), { force: true });
  }

  /** A path in staging that nobody else uses; the caller makes and deletes what is there. */
  stagingPath(): string {
    return join(this.#stagingDir, String(++this.#stagedCount));
  }

  /** Begins a blob whose digest is known only at the end. */
  async create(maxBytes = MAX_BLOB_BYTES): Promise<BlobWriter> {
    const path = this.stagingPath();
    const handle = await open(path, 'wx', 0o600);
    return new BlobWriter({ path, handle, maxBytes, pathOf: (digest) => this.pathOf(digest) });
  }

  /**
   * Stores a stream that must have the digest and size expected; already there: not read at all.
   * @throws {HatobaError} unavailable when the bytes are others: transfer them again
   */
  async put(
    expected: ExpectedBlob,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    if (await this.has(expected.digest)) return;
    const writer = await this.create(expected.sizeBytes);
    try {
      let receivedBytes = 0;
      for await (const chunk of source) {
        receivedBytes += chunk.length;
        if (receivedBytes > expected.sizeBytes) {
          const size = `the ${expected.sizeBytes} bytes it should have`;
          throw new HatobaError('unavailable', `blob ${expected.digest} goes on after ${size}`);
        }
        await writer.write(chunk);
      }
      const found = await writer.finish();
      if (found.digest !== expected.digest || found.sizeBytes !== expected.sizeBytes) {
        throw new HatobaError(
          'unavailable',
          `blob ${expected.digest} of ${expected.sizeBytes} bytes arrived as ${found.digest} of ${found.sizeBytes} bytes`,
        );
      }
      await writer.keep();
    } finally {
      await writer.discard();
    }
  }
}

/** One blob being written: write, finish, then keep or discard. */
export class BlobWriter {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #maxBytes: number;
  readonly #pathOf: (digest: Digest) => string;
  readonly #hash: Hash = createHash('sha256');
  #sizeBytes = 0;
  #finished: ExpectedBlob | undefined;
  #isOpen = true;

  constructor(parts: {
    path: string;
    handle: FileHandle;
    maxBytes: number;
    pathOf: (digest: Digest) => string;
  }) {
    this.#path = parts.path;
    this.#handle = parts.handle;
    this.#maxBytes = parts.maxBytes;
    this.#pathOf = parts.pathOf;
  }

  /** Where its bytes are until it is kept. */
  get path(): string {
    return this.#path;
  }

  /** @throws {HatobaError} resource-exhausted beyond the bound, or without disk space */
  async write(chunk: Uint8Array): Promise<void> {
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > this.#maxBytes) {
      throw new HatobaError('resource-exhausted', `a blob has more than ${this.#maxBytes} bytes`);
    }
    this.#hash.update(chunk);
    try {
      await this.#handle.writeFile(chunk);
    } catch (error) {
      throw explainFullDisk(error, dirname(this.#path));
    }
  }

  /** All bytes are written; tells what they are. */
  async finish(): Promise<ExpectedBlob> {
    this.#finished = {
      digest: digestOfHex(this.#hash.digest('hex')),
      sizeBytes: this.#sizeBytes,
    };
    await this.#close();
    return this.#finished;
  }

  /** Gives a finished blob its name. Another of the same name is the same blob. */
  async keep(): Promise<void> {
    if (this.#finished === undefined) throw new Error('keep() before finish()');
    const target = this.#pathOf(this.#finished.digest);
    const handle = await open(this.#path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(this.#path, target);
    await syncDirectory(dirname(target));
  }

  /** Deletes what is not kept. */
  async discard(): Promise<void> {
    await this.#close();
    await rm(this.#path, { force: true });
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#handle.close();
  }
}
