import { HatobaError, kindOf, wrapError } from '../../common/errors.js';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import { registryOfServer } from '../../common/registry-credentials.js';
import type { Random } from '../../common/random.js';
import type { Files } from '../../linux/ports.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { ContentStore } from '../content/content-store.js';
import { explainFullDisk } from '../content/durable-file.js';
import { LayerStore } from '../content/layer-store.js';
import { PartialBlobs } from '../content/partial-blobs.js';
import { Limiter } from '../content/limiter.js';
import { SharedWork } from '../content/shared-work.js';
import { Unpacker } from '../content/unpacker.js';
import type { Digest } from '../core/digest.js';
import {
  familiarReference,
  formatReference,
  parseImageReference,
  referenceKey,
  type ImageReference,
} from '../core/image-ref.js';
import type { ImageUser } from '../core/image-removal.js';
import { parsePlatformName, platformOf, type Platform } from '../core/manifest.js';
import type {
  ArchiveFormat,
  ImageDetails,
  ImageHistoryEntry,
  Images,
  Pruned,
  RegistryAuth,
  TransferOptions,
  TransferProgress,
} from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import { BlobOrigins } from './blob-origins.js';
import { ImageCatalog } from './catalog.js';
import { fileCredentials } from './credentials-source.js';
import { downloadImage } from './download.js';
import { ImageGarbage } from './image-garbage.js';
import { ImageIndex } from './image-index.js';
import type { KnownImage } from './image-record.js';
import type { ImageLookup, LocalImage } from './image-lookup.js';
import { importImage, type ImportOptions } from './import.js';
import { LastUse } from './last-use.js';
import { Leases, type Lease } from './leases.js';
import { loadArchive, type LoaderModules } from './load.js';
import { Puller, keyOfAuth } from './pull.js';
import { Pusher } from './push.js';
import { Reclaimer } from './reclaimer.js';
import { RegistryClient } from './registry-client.js';
import { saveImages } from './save.js';

export interface ImageStoreOptions {
  /** The engine's root: holds blobs/, layers/, images/ and staging/ of this store. */
  readonly root: string;
  readonly kernel: { readonly files: Pick<Files, 'mknod' | 'setXattr' | 'syncFilesystem'> };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default: Node's own. */
  readonly fetch?: typeof fetch;
  /** Registries without TLS besides those on loopback: "host", "host:port", "10.0.0.0/8". */
  readonly insecureRegistries: readonly string[];
  /** Registry → addresses asked before it: {"docker.io": ["http://10.0.0.5:5000"]}. */
  readonly registryMirrors?: Readonly<Record<string, readonly string[]>>;
  /** Credentials for calls that bring none, in the format of docker's config.json; may be missing. */
  readonly credentialsFile?: string;
  /** What the rest of the engine says of images; without it nobody uses any. */
  readonly surroundings?: ImageSurroundings;
}

/** How images hang together with the rest of the engine. */
export interface ImageSurroundings {
  readonly events: EventSink;
  /** The containers made from an image. */
  readonly usersOf: (id: Digest) => readonly ImageUser[];
  /** The layers below the root file systems of containers. */
  readonly containerLayers: () => Promise<readonly Digest[]>;
  /** What those are made with: "overlay". */
  readonly snapshotter: () => string;
}

const NO_SURROUNDINGS: ImageSurroundings = {
  events: { emit: () => undefined },
  usersOf: () => [],
  containerLayers: () => Promise.resolve([]),
  snapshotter: () => 'overlay',
};

/** As many as Docker: more would only divide the line. */
const PARALLEL_DOWNLOADS = 3;

/**
 * Opens the images below `root`, and deletes what an interrupted load or pull left. One process at
 * a time may have a root open.
 */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  const { root, kernel, clock, random, logger, insecureRegistries } = options;
  const content = await ContentStore.open(root);
  const unpacker = new Unpacker({ clock });
  const layers = await LayerStore.open(root, {
    content,
    unpacker,
    files: kernel.files,
    clock,
    logger,
  });
  const index = await ImageIndex.open(root, { content, layers, logger });
  const registry = new RegistryClient({
    fetch: options.fetch ?? fetch,
    clock,
    random,
    insecureRegistries,
    mirrors: options.registryMirrors ?? {},
    credentials: fileCredentials(options.credentialsFile),
  });
  const platform = platformOf(process.arch);
  const loader = { content, layers, index, clock, platform };
  const partials = await PartialBlobs.open(root, content);
  const origins = await BlobOrigins.open(root, { content, logger });
  const downloads = new Limiter(PARALLEL_DOWNLOADS);
  const puller = new Puller({ ...loader, registry, partials, origins, downloads });
  const pusher = new Pusher({ registry, content, layers, origins });
  const surroundings = options.surroundings ?? NO_SURROUNDINGS;
  const leases = new Leases();
  const reclaimer = new Reclaimer({ content, layers, index, leases, ...surroundings });
  const lastUse = await LastUse.open(index.dir, { clock, logger });
  const stores = { content, layers, index, leases, reclaimer, lastUse };
  const catalog = new ImageCatalog({ ...stores, ...surroundings, clock });
  const transfers = { registry, puller, pusher, partials };
  return new ImageStore({
    ...stores,
    ...surroundings,
    ...transfers,
    loader,
    catalog,
    unpacker,
    logger,
  });
}

interface Parts {
  readonly loader: LoaderModules;
  readonly registry: RegistryClient;
  readonly puller: Puller;
  readonly pusher: Pusher;
  readonly partials: PartialBlobs;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly index: ImageIndex;
  readonly leases: Leases;
  readonly reclaimer: Reclaimer;
  readonly lastUse: LastUse;
  readonly catalog: ImageCatalog;
  readonly events: EventSink;
  readonly unpacker: Unpacker;
  readonly logger: Logger;
}

/**
 * The images of one machine: see Images for the contract. After dispose every call that waits
 * rejects with `cancelled`.
 */
export class ImageStore implements Images, ImageLookup, AsyncDisposable {
  readonly #parts: Parts;
  readonly #pulls = new SharedWork<Image, TransferProgress>();
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async load(
    archive: AsyncIterable<Uint8Array>,
    options: { signal?: AbortSignal } = {},
  ): Promise<Image[]> {
    const { loader, logger } = this.#parts;
    const images = await this.#bringIn('image archive', options.signal, (work) =>
      loadArchive(archive, loader, work),
    );
    logger.info('Loaded images', { tags: images.flatMap((i) => i.repoTags) });
    for (const image of images) this.#tell('load', image.id, image.repoTags[0]);
    return images;
  }

  async import(
    archive: AsyncIterable<Uint8Array>,
    options: ImportOptions & { signal?: AbortSignal } = {},
  ): Promise<Image> {
    const image = await this.#bringIn('import of a tar', options.signal, (work) =>
      importImage(archive, options, this.#parts.loader, work),
    );
    this.#tell('import', image.id, options.reference);
    return image;
  }

  async *save(
    references: readonly string[],
    options: { format: ArchiveFormat; signal?: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const signal = this.#withClosing(options.signal);
    yield* saveImages(references, { ...options, signal }, this.#parts);
    for (const name of references) {
      const known = this.#parts.index.find(name);
      if (known !== undefined) this.#tell('save', known.record.id, name);
    }
  }

  async pull(
    reference: string,
    options: TransferOptions & { refresh?: boolean; platform?: string } = {},
  ): Promise<Image> {
    const parsed = parseImageReference(reference);
    const platform = options.platform ? parsePlatformName(options.platform) : undefined;
    const local = this.#findLocal(parsed, options.refresh === true, platform);
    if (local !== undefined) return this.#parts.index.describe(local);
    const { onProgress, auth } = options;
    const key = [referenceKey(parsed), options.platform ?? '', keyOfAuth(auth)].join(' ');
    const wanted = { ...(platform && { platform }), ...(auth && { auth }) };
    return await this.#track(
      this.#pulls.run(key, (signal, tell) => this.#pull(parsed, wanted, signal, tell), {
        signal: this.#withClosing(options.signal),
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
    );
  }

  async *download(
    reference: string,
    options: TransferOptions & { format: ArchiveFormat; platform?: string },
  ): AsyncGenerator<Uint8Array> {
    const { format, auth, platform } = options;
    yield* downloadImage(parseImageReference(reference), this.#parts, {
      format,
      signal: this.#withClosing(options.signal),
      ownPlatform: this.#parts.loader.platform,
      platform: platform ? parsePlatformName(platform) : undefined,
      ...(auth && { auth }),
    });
  }

  async push(reference: string, options: TransferOptions = {}): Promise<{ digest: string }> {
    const parsed = parseImageReference(reference);
    if (parsed.digest !== undefined) {
      const text = `image "${reference}": a digest cannot be pushed, only a tag`;
      throw new HatobaError('invalid-argument', text);
    }
    return await this.#track(this.#push(parsed, options));
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
    return this.#track(this.#parts.catalog.prune(options));
  }

  list(): Promise<Image[]> {
    return Promise.resolve(this.#parts.index.list());
  }

  /** Gives up loads and pulls, and waits until they have cleaned up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new HatobaError('cancelled', 'the image store is closing'));
    await Promise.allSettled(this.#running);
    await this.#parts.lastUse[Symbol.asyncDispose]();
    await this.#parts.unpacker[Symbol.asyncDispose]();
  }

  /** The image that is here already, unless the registry is to be asked for it. */
  #findLocal(
    reference: ImageReference,
    isRefresh: boolean,
    platform: Platform | undefined,
  ): KnownImage | undefined {
    // what a digest names never changes
    if (isRefresh && reference.digest === undefined) return undefined;
    const known = this.#parts.index.find(referenceKey(reference));
    if (known === undefined || platform === undefined) return known;
    const { os, architecture } = known.blob.config;
    return os === platform.os && architecture === platform.architecture ? known : undefined;
  }

  async #push(reference: ImageReference, options: TransferOptions): Promise<{ digest: string }> {
    const { pusher, index, logger } = this.#parts;
    const { onProgress = () => undefined, auth } = options;
    const signal = this.#withClosing(options.signal);
    const key = referenceKey(reference);
    const digest = await this.#withLease(
      async (lease) => {
        const known = await this.#holdWhole(key, lease);
        const pushed = await pusher.push(known, reference, {
          signal,
          onProgress,
          ...(auth && { auth }),
        });
        const atRegistry = referenceKey({ ...reference, tag: undefined, digest: pushed });
        await index.tag(known.record.id, atRegistry);
        logger.info('Pushed image', { image: key, id: known.record.id, digest: pushed });
        this.#tell('push', known.record.id, familiarReference(reference));
        return pushed;
      },
      () => false,
    );
    return { digest };
  }

  /** An image none of whose parts can be removed while the lease lasts. */
  async #holdWhole(reference: string, lease: Lease): Promise<KnownImage> {
    const { catalog, reclaimer } = this.#parts;
    const { id } = catalog.mustFind(reference).record;
    await lease.hold(id);
    const known = catalog.mustFind(id);
    const { blobs, layers } = reclaimer.candidatesOf(known);
    await lease.hold(...blobs, ...layers);
    return catalog.mustFind(id); // a removal may have come before the lease was whole
  }

  async #pull(
    reference: ImageReference,
    wanted: { platform?: Platform; auth?: RegistryAuth },
    signal: AbortSignal,
    tell: (progress: TransferProgress) => void,
  ): Promise<Image> {
    const { puller, logger } = this.#parts;
    const image = await this.#withLease(
      (lease) => puller.pull(reference, { ...wanted, lease, signal, onProgress: tell }),
      // an interrupted pull goes on from what it has; a full disk needs that back
      (error) => kindOf(error) === 'resource-exhausted',
    );
    logger.info('Pulled image', { image: formatReference(reference), id: image.id });
    this.#tell('pull', image.id, familiarReference(reference));
    return image;
  }

  /** An image that comes in one stream is here whole at the end, or nothing is left of it. */
  async #bringIn<T>(
    subject: string,
    callerSignal: AbortSignal | undefined,
    bring: (work: { lease: Lease; signal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const signal = this.#withClosing(callerSignal);
    const work = this.#withLease(
      (lease) => bring({ lease, signal }),
      () => true,
    );
    try {
      return await this.#track(work);
    } catch (error) {
      signal.throwIfAborted();
      throw wrapError(error, subject);
    }
  }

  /** @param tidies whether what nothing needs afterwards goes at once; without an error it is done */
  async #withLease<T>(
    work: (lease: Lease) => Promise<T>,
    tidies: (error: unknown) => boolean,
  ): Promise<T> {
    const { leases, reclaimer, content } = this.#parts;
    const lease = leases.open();
    const end = async (error?: unknown): Promise<void> => {
      const { held } = lease;
      lease.release();
      if (tidies(error)) await reclaimer.reclaim({ blobs: held, layers: held });
    };
    try {
      const result = await work(lease);
      await end();
      return result;
    } catch (cause) {
      const error = explainFullDisk(cause, content.root);
      await end(error);
      throw error;
    }
  }

  #tell(action: string, id: string, name: string | undefined): void {
    const attributes: Record<string, string> = name === undefined ? {} : { name };
    this.#parts.events.emit({ type: 'image', action, id, attributes });
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
