import { HatobaError } from '../../common/errors.js';
import { registryOfServer } from '../../common/registry-credentials.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { Unpacker } from '../content/unpacker.js';
import { parseImageReference } from '../core/image-ref.js';
import { parsePlatformName, type Platform } from '../core/manifest.js';
import type {
  ArchiveFormat,
  ImageDetails,
  ImageHistoryEntry,
  Images,
  Pruned,
  RegistryAuth,
  TransferOptions,
} from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import { downloadImage } from './download.js';
import { ImageGarbage, type ImageGarbageModules } from './image-garbage.js';
import type { ImageLookup, LocalImage } from './image-lookup.js';
import type { ImportOptions } from './import.js';
import type { RegistryClient } from './registry-client.js';
import { saveImages } from './save.js';
import type { ImageTransfers } from './transfers.js';

export interface ImageStoreParts extends ImageGarbageModules {
  readonly platform: Platform;
  readonly registry: RegistryClient;
  readonly transfers: ImageTransfers;
  readonly events: EventSink;
  readonly unpacker: Unpacker;
}

/**
 * The images of one machine: see Images for the contract. After dispose every call that waits
 * rejects with `cancelled`.
 */
export class ImageStore implements Images, ImageLookup, AsyncDisposable {
  readonly #parts: ImageStoreParts;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: ImageStoreParts) {
    this.#parts = parts;
  }

  load(
    archive: AsyncIterable<Uint8Array>,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<Image[]> {
    return this.#track(this.#parts.transfers.load(archive, this.#withClosing(signal)));
  }

  import(
    archive: AsyncIterable<Uint8Array>,
    options: ImportOptions & { signal?: AbortSignal } = {},
  ): Promise<Image> {
    const signal = this.#withClosing(options.signal);
    return this.#track(this.#parts.transfers.import(archive, options, signal));
  }

  pull(
    reference: string,
    options: TransferOptions & { refresh?: boolean; platform?: string } = {},
  ): Promise<Image> {
    const signal = this.#withClosing(options.signal);
    return this.#track(this.#parts.transfers.pull(reference, { ...options, signal }));
  }

  push(reference: string, options: TransferOptions = {}): Promise<{ digest: string }> {
    const signal = this.#withClosing(options.signal);
    return this.#track(this.#parts.transfers.push(reference, { ...options, signal }));
  }

  async *save(
    references: readonly string[],
    options: { format: ArchiveFormat; signal?: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const signal = this.#withClosing(options.signal);
    yield* saveImages(references, { ...options, signal }, this.#parts);
    for (const name of references) {
      const known = this.#parts.index.find(name);
      if (known === undefined) continue;
      const { id } = known.record;
      this.#parts.events.emit({ type: 'image', action: 'save', id, attributes: { name } });
    }
  }

  async *download(
    reference: string,
    options: TransferOptions & { format: ArchiveFormat; platform?: string },
  ): AsyncGenerator<Uint8Array> {
    const { format, auth, platform } = options;
    yield* downloadImage(parseImageReference(reference), this.#parts, {
      format,
      signal: this.#withClosing(options.signal),
      ownPlatform: this.#parts.platform,
      platform: platform ? parsePlatformName(platform) : undefined,
      ...(auth && { auth }),
    });
  }

  async login(
    server: string,
    auth: RegistryAuth,
    signal?: AbortSignal,
  ): Promise<{ identityToken: string }> {
    const { registry } = this.#parts;
    const host = registryOfServer(server);
    return { identityToken: await registry.login(host, auth, this.#withClosing(signal)) };
  }

  async find(reference: string): Promise<Image | undefined> {
    return (await this.lookup(reference))?.image;
  }

  lookup(reference: string): Promise<LocalImage | undefined> {
    const { index, catalog } = this.#parts;
    const known = index.find(reference);
    return Promise.resolve(known === undefined ? undefined : catalog.toLocal(known));
  }

  keepDuring<T>(reference: string, container: string, make: () => Promise<T>): Promise<T> {
    return this.#parts.catalog.keepDuring(reference, container, make);
  }

  /** For the engine's garbage collection and disk usage. */
  get garbage(): ImageGarbage {
    return new ImageGarbage(this.#parts);
  }

  inspect(reference: string): Promise<ImageDetails> {
    return this.#parts.catalog.inspect(reference);
  }

  history(reference: string): Promise<ImageHistoryEntry[]> {
    return this.#parts.catalog.history(reference);
  }

  tag(source: string, target: string): Promise<void> {
    return this.#parts.catalog.tag(source, target);
  }

  remove(
    reference: string,
    options: { force?: boolean } = {},
  ): Promise<{ untagged: string[]; deleted: string[] }> {
    return this.#track(this.#parts.catalog.remove(reference, options));
  }

  prune(options: { all?: boolean; olderThanMs?: number }): Promise<Pruned> {
    return this.#track(this.#prune(options));
  }

  list(): Promise<Image[]> {
    return Promise.resolve(this.#parts.index.list());
  }

  names(most: number): Promise<string[]> {
    return Promise.resolve(this.#parts.catalog.names(most));
  }

  /** Gives up loads and pulls, and waits until they have cleaned up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new HatobaError('cancelled', 'the image store is closing'));
    await Promise.allSettled(this.#running);
    await this.#parts.lastUse[Symbol.asyncDispose]();
    await this.#parts.unpacker[Symbol.asyncDispose]();
  }

  async #prune(options: { all?: boolean; olderThanMs?: number }): Promise<Pruned> {
    const pruned = await this.#parts.catalog.prune(options);
    if (options.all !== true) return pruned;
    const left = await this.garbage.removeOlder(options.olderThanMs ?? 0);
    return {
      removed: [...pruned.removed, ...left.removed],
      reclaimedBytes: pruned.reclaimedBytes + left.bytes,
    };
  }

  #withClosing(signal: AbortSignal | undefined): AbortSignal {
    const closing = this.#closing.signal;
    return signal === undefined ? closing : AbortSignal.any([signal, closing]);
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }
}
