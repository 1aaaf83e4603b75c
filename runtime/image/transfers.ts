import { HatobaError, kindOf, wrapError } from '../../common/errors.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { PartialBlobs } from '../content/partial-blobs.js';
import { SharedWork } from '../content/shared-work.js';
import {
  familiarReference,
  formatReference,
  parseImageReference,
  referenceKey,
  type ImageReference,
} from '../core/image-ref.js';
import { parsePlatformName, type Platform } from '../core/manifest.js';
import type { RegistryAuth, TransferOptions, TransferProgress } from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import type { ImageCatalog } from './catalog.js';
import type { ImageIndex } from './image-index.js';
import type { KnownImage } from './image-record.js';
import { importImage, type ImportOptions } from './import.js';
import { holdImage, withLease, type LeaseModules } from './leased-work.js';
import type { Lease } from './leases.js';
import { loadArchive, type LoaderModules } from './load.js';
import { keyOfAuth, type Puller } from './pull.js';
import type { Pusher } from './push.js';

export interface TransferModules extends LeaseModules {
  readonly loader: LoaderModules;
  readonly index: ImageIndex;
  readonly catalog: ImageCatalog;
  readonly partials: PartialBlobs;
  readonly puller: Puller;
  readonly pusher: Pusher;
  readonly events: EventSink;
}

/** The ways of images into this machine, and out to registries; see Images for the contract. */
export class ImageTransfers {
  readonly #modules: TransferModules;
  readonly #pulls = new SharedWork<Image, TransferProgress>();

  constructor(modules: TransferModules) {
    this.#modules = modules;
  }

  async load(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Image[]> {
    const { loader, logger } = this.#modules;
    const images = await this.#bringIn('image archive', signal, (lease) =>
      loadArchive(archive, loader, { lease, signal }),
    );
    logger.info('Loaded images', { tags: images.flatMap((i) => i.repoTags) });
    for (const image of images) this.#tell('load', image.id, image.repoTags[0]);
    return images;
  }

  async import(
    archive: AsyncIterable<Uint8Array>,
    options: ImportOptions,
    signal: AbortSignal,
  ): Promise<Image> {
    const image = await this.#bringIn('import of a tar', signal, (lease) =>
      importImage(archive, options, this.#modules.loader, { lease, signal }),
    );
    this.#tell('import', image.id, options.reference);
    return image;
  }

  async pull(
    reference: string,
    options: TransferOptions & { refresh?: boolean; platform?: string; signal: AbortSignal },
  ): Promise<Image> {
    const parsed = parseImageReference(reference);
    const platform = options.platform ? parsePlatformName(options.platform) : undefined;
    const local = this.#findLocal(parsed, options.refresh === true, platform);
    if (local !== undefined) return this.#modules.index.describe(local);
    const { onProgress, auth, signal } = options;
    const key = [referenceKey(parsed), options.platform ?? '', keyOfAuth(auth)].join(' ');
    const wanted = { ...(platform && { platform }), ...(auth && { auth }) };
    return await this.#pulls.run(key, (shared, tell) => this.#pull(parsed, wanted, shared, tell), {
      signal,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
  }

  async push(
    reference: string,
    options: TransferOptions & { signal: AbortSignal },
  ): Promise<{ digest: string }> {
    const parsed = parseImageReference(reference);
    if (parsed.digest !== undefined) {
      const text = `image "${reference}": a digest cannot be pushed, only a tag`;
      throw new HatobaError('invalid-argument', text);
    }
    const push = (lease: Lease): Promise<string> => this.#push(parsed, options, lease);
    // it has brought nothing that could be tidied up
    return { digest: await withLease(this.#modules, push, () => Promise.resolve()) };
  }

  /** The image that is here already, unless the registry is to be asked for it. */
  #findLocal(
    reference: ImageReference,
    isRefresh: boolean,
    platform: Platform | undefined,
  ): KnownImage | undefined {
    // what a digest names never changes
    if (isRefresh && reference.digest === undefined) return undefined;
    const known = this.#modules.index.find(referenceKey(reference));
    if (known === undefined || platform === undefined) return known;
    const { os, architecture } = known.blob.config;
    return os === platform.os && architecture === platform.architecture ? known : undefined;
  }

  async #pull(
    reference: ImageReference,
    wanted: { platform?: Platform; auth?: RegistryAuth },
    signal: AbortSignal,
    tell: (progress: TransferProgress) => void,
  ): Promise<Image> {
    const { puller, logger, reclaimer, partials } = this.#modules;
    const image = await withLease(
      this.#modules,
      (lease) => puller.pull(reference, { ...wanted, lease, signal, onProgress: tell }),
      async (held, error) => {
        // an interrupted pull goes on from what it has; a full disk needs that back
        if (kindOf(error) !== 'resource-exhausted') return;
        await reclaimer.reclaim({ blobs: held, layers: held });
        for (const digest of held) await partials.remove(digest);
      },
    );
    logger.info('Pulled image', { image: formatReference(reference), id: image.id });
    this.#tell('pull', image.id, familiarReference(reference));
    return image;
  }

  async #push(
    reference: ImageReference,
    options: TransferOptions & { signal: AbortSignal },
    lease: Lease,
  ): Promise<string> {
    const { pusher, index, logger } = this.#modules;
    const { onProgress = () => undefined, auth, signal } = options;
    const key = referenceKey(reference);
    const known = await holdImage(key, lease, this.#modules);
    const { id } = known.record;
    const digest = await pusher.push(known, reference, {
      signal,
      onProgress,
      ...(auth && { auth }),
    });
    await index.tag(id, referenceKey({ ...reference, tag: undefined, digest }));
    logger.info('Pushed image', { image: key, id, digest });
    this.#tell('push', id, familiarReference(reference));
    return digest;
  }

  /** An image that comes in one stream is here whole at the end, or nothing is left of it. */
  async #bringIn<T>(
    subject: string,
    signal: AbortSignal,
    bring: (lease: Lease) => Promise<T>,
  ): Promise<T> {
    const { reclaimer } = this.#modules;
    try {
      return await withLease(this.#modules, bring, (held) =>
        reclaimer.reclaim({ blobs: held, layers: held }),
      );
    } catch (error) {
      signal.throwIfAborted();
      throw wrapError(error, subject);
    }
  }

  #tell(action: string, id: string, name: string | undefined): void {
    const attributes: Record<string, string> = name === undefined ? {} : { name };
    this.#modules.events.emit({ type: 'image', action, id, attributes });
  }
}
