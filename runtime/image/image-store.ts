import { HatobaError, describeError, kindOf } from '../../common/errors.js';
import type { Clock } from '../../common/clock.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import type { Files } from '../../linux/ports.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { ContentStore } from '../content/content-store.js';
import { LayerStore } from '../content/layer-store.js';
import { Limiter } from '../content/limiter.js';
import { SharedWork } from '../content/shared-work.js';
import { Unpacker } from '../content/unpacker.js';
import {
  formatReference,
  parseImageReference,
  referenceKey,
  type ImageReference,
} from '../core/image-ref.js';
import { layerChain } from '../core/layer-chain.js';
import { platformOf } from '../core/manifest.js';
import type { Images, TransferProgress } from '../engine.js';
import { ImageIndex } from './image-index.js';
import type { ImageLookup, LocalImage } from './image-lookup.js';
import { loadArchive, type LoaderModules } from './load.js';
import { Puller } from './pull.js';
import { RegistryClient } from './registry-client.js';

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
}

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
  });
  const platform = platformOf(process.arch);
  const loader = { content, layers, index, clock, platform };
  const puller = new Puller({ ...loader, registry, downloads: new Limiter(PARALLEL_DOWNLOADS) });
  return new ImageStore({ loader, puller, index, unpacker, logger });
}

interface Parts {
  readonly loader: LoaderModules;
  readonly puller: Puller;
  readonly index: ImageIndex;
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
    const signal = this.#withClosing(options.signal);
    try {
      const images = await this.#track(loadArchive(archive, this.#parts.loader, signal));
      this.#parts.logger.info('Loaded images', { tags: images.flatMap((i) => i.repoTags) });
      return images;
    } catch (error) {
      signal.throwIfAborted();
      const message = `image archive: ${describeError(error)}`;
      throw new HatobaError(kindOf(error), message, { cause: error });
    }
  }

  async pull(
    reference: string,
    options: {
      signal?: AbortSignal;
      onProgress?: (progress: TransferProgress) => void;
      refresh?: boolean;
    } = {},
  ): Promise<Image> {
    const parsed = parseImageReference(reference);
    const key = referenceKey(parsed);
    // what a digest names never changes
    const mayBeLocal = options.refresh !== true || parsed.digest !== undefined;
    const local = mayBeLocal ? this.#parts.index.find(key) : undefined;
    if (local !== undefined) return this.#parts.index.describe(local);
    const { onProgress } = options;
    return await this.#track(
      this.#pulls.run(key, (signal, tell) => this.#pull(parsed, signal, tell), {
        signal: this.#withClosing(options.signal),
        ...(onProgress === undefined ? {} : { onProgress }),
      }),
    );
  }

  async find(reference: string): Promise<Image | undefined> {
    return (await this.lookup(reference))?.image;
  }

  lookup(reference: string): Promise<LocalImage | undefined> {
    const { index } = this.#parts;
    const known = index.find(reference);
    if (known === undefined) return Promise.resolve(undefined);
    const { config, diffIds } = known.blob;
    return Promise.resolve({ image: index.describe(known), config, chain: layerChain(diffIds) });
  }

  list(): Promise<Image[]> {
    return Promise.resolve(this.#parts.index.list());
  }

  /** Gives up loads and pulls, and waits until they have cleaned up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new HatobaError('cancelled', 'the image store is closing'));
    await Promise.allSettled(this.#running);
    await this.#parts.unpacker[Symbol.asyncDispose]();
  }

  async #pull(
    reference: ImageReference,
    signal: AbortSignal,
    tell: (progress: TransferProgress) => void,
  ): Promise<Image> {
    const image = await this.#parts.puller.pull(reference, signal, tell);
    this.#parts.logger.info('Pulled image', { image: formatReference(reference), id: image.id });
    return image;
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
