import { posix } from 'node:path';
import { HatobaError } from '../../common/errors.js';
import type { BlobWriter, ContentStore } from '../content/content-store.js';
import { decompress } from '../content/compression.js';
import type { Digest } from '../core/digest.js';
import { byteText, type TarEntry } from '../core/tar-header.js';
import { TarReader, type TarEvent } from '../core/tar-reader.js';

/** A file of the archive. */
export interface StagedBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly writer: BlobWriter;
}

const MAX_ENTRIES = 20_000;
const MAX_LINKS = 10;

/**
 * The files of an image archive, each staged under its digest until it is known which ones belong
 * to an image. Discard it at the end: what was not kept goes.
 */
export class ArchiveBlobs implements AsyncDisposable {
  readonly #content: ContentStore;
  readonly #byName = new Map<string, StagedBlob>();
  readonly #byDigest = new Map<Digest, StagedBlob>();
  /** `docker save` wrote a layer that images share once, and links to it elsewhere. */
  readonly #links = new Map<string, string>();
  /** Of every file, also of those that a later one of the same name has replaced. */
  readonly #writers: BlobWriter[] = [];
  #open: { name: string; writer: BlobWriter } | undefined;
  #entries = 0;

  constructor(content: ContentStore) {
    this.#content = content;
  }

  /**
   * Reads a whole archive: a tar, compressed or not.
   * @throws {HatobaError} invalid-argument when it is none
   */
  async readAll(
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const reader = new TarReader();
    for await (const chunk of decompress(archive)) {
      signal?.throwIfAborted();
      for (const event of reader.push(chunk)) await this.#take(event);
    }
    reader.end();
  }

  /** The file of a name, as manifest.json writes it; links are followed. */
  find(name: string): StagedBlob | undefined {
    let target = clean(name);
    for (let links = 0; links <= MAX_LINKS; links++) {
      const blob = this.#byName.get(target);
      const link = this.#links.get(target);
      if (blob !== undefined || link === undefined) return blob;
      target = link;
    }
    return undefined;
  }

  findDigest(digest: Digest): StagedBlob | undefined {
    return this.#byDigest.get(digest);
  }

  /** Moves a staged blob into the content store. */
  async keep(blob: StagedBlob): Promise<void> {
    if (!(await this.#content.has(blob.digest))) await blob.writer.keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const writer of this.#writers) await writer.discard();
  }

  async #take(event: TarEvent): Promise<void> {
    switch (event.type) {
      case 'entry':
        await this.#begin(event.entry);
        return;
      case 'content':
        await this.#open?.writer.write(event.bytes);
        return;
      case 'hole':
        throw new HatobaError('invalid-argument', 'a file of the archive is stored as sparse');
      case 'entry-end':
        await this.#end();
    }
  }

  async #begin(entry: TarEntry): Promise<void> {
    if (++this.#entries > MAX_ENTRIES) {
      throw new HatobaError('invalid-argument', `the archive has more than ${MAX_ENTRIES} entries`);
    }
    const name = clean(byteText(entry.name));
    const link = byteText(entry.linkName);
    if (entry.kind === 'file') await this.#create(name);
    else if (entry.kind === 'hardlink') this.#links.set(name, clean(link));
    else if (entry.kind === 'symlink') this.#links.set(name, posix.join(posix.dirname(name), link));
  }

  async #create(name: string): Promise<void> {
    const writer = await this.#content.create();
    this.#writers.push(writer);
    this.#open = { name, writer };
  }

  async #end(): Promise<void> {
    if (this.#open === undefined) return;
    const { name, writer } = this.#open;
    const blob = { ...(await writer.finish()), writer };
    this.#open = undefined;
    this.#byName.set(name, blob); // of several files of a name the last counts, as in every tar
    this.#byDigest.set(blob.digest, blob);
  }
}

function clean(name: string): string {
  return posix.normalize(name).replace(/^\/+/, '');
}
