import { createHash } from 'node:crypto';
import { HatobaError, describeError, isRetryable, kindOf } from '../../common/errors.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { Limiter } from '../content/limiter.js';
import type { PartialBlob, PartialBlobs } from '../content/partial-blobs.js';
import { SharedWork } from '../content/shared-work.js';
import type { Digest } from '../core/digest.js';
import { parseImageConfig } from '../core/image-config.js';
import { familiarReference, referenceKey, type ImageReference } from '../core/image-ref.js';
import {
  MAX_MANIFEST_BYTES,
  requirePlatform,
  type Descriptor,
  type Platform,
} from '../core/manifest.js';
import type { RegistryAuth, TransferProgress } from '../engine.js';
import type { BlobOrigins } from './blob-origins.js';
import { installImage, type InstallModules } from './install.js';
import type { Lease } from './leases.js';
import type { RegistryCall, RegistryClient } from './registry-client.js';
import { resolveImage, type ResolvedImage } from './resolve.js';

export interface PullerModules extends InstallModules {
  readonly registry: RegistryClient;
  readonly partials: PartialBlobs;
  readonly origins: BlobOrigins;
  /** The machine's own. */
  readonly platform: Platform;
  /** Downloads of all pulls together. */
  readonly downloads: Limiter;
}

export interface PullCall {
  /** Takes all that the image needs, before it looks what is there. */
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TransferProgress) => void;
}

export interface PullOptions {
  /** Takes what the pull brings. */
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TransferProgress) => void;
  /** The machine's own if not said. */
  readonly platform?: Platform;
  readonly auth?: RegistryAuth;
}

/** Brings images from registries into the stores; a blob that pulls of one repository want is fetched once. */
export class Puller {
  readonly #modules: PullerModules;
  readonly #blobs = new SharedWork<void, number>();

  constructor(modules: PullerModules) {
    this.#modules = modules;
  }

  /** @throws {HatobaError} naming the image and what the registry answered */
  async pull(reference: ImageReference, options: PullOptions): Promise<Image> {
    const subject = `image "${familiarReference(reference)}"`;
    try {
      return await this.#pull(reference, subject, options);
    } catch (error) {
      options.signal.throwIfAborted();
      const text = describeError(error);
      const message = text.startsWith('image "') ? text : `${subject}: ${text}`;
      throw new HatobaError(kindOf(error), message, { cause: error });
    }
  }

  async #pull(reference: ImageReference, subject: string, options: PullOptions): Promise<Image> {
    const { registry, content, platform } = this.#modules;
    const { lease, signal, onProgress } = options;
    const call: RegistryCall = options;
    const resolved = await resolveImage(reference, {
      registry,
      call,
      platform: options.platform ?? platform,
    });
    const { manifest, documents, top } = resolved;
    await lease.hold(manifest.config.digest, ...documents.map((d) => d.digest));
    for (const { bytes, digest } of documents) {
      await content.put({ digest, sizeBytes: bytes.length }, [bytes]);
    }
    const tellImage = (status: TransferProgress['status']): void => {
      onProgress({ layer: '', status, currentBytes: 0, totalBytes: 0 });
    };
    tellImage('downloading');
    await this.#fetchBlob(reference, manifest.config, call);
    const wanted = options.platform;
    if (wanted !== undefined) await this.#checkPlatform(resolved, wanted, subject);
    const parts = {
      subject,
      config: manifest.config.digest,
      layers: manifest.layers,
      manifests: documents.map((document) => document.digest),
      references: [referenceKey(reference), referenceKey({ ...reference, digest: top })],
    };
    const fetchLayer = this.#layerFetcher(reference, manifest.layers, options);
    const image = await installImage(parts, this.#modules, {
      signal,
      lease,
      onProgress,
      fetchLayer,
    });
    await this.#modules.origins.add(reference, [manifest.config, ...manifest.layers]);
    tellImage('done');
    return image;
  }

  #layerFetcher(
    reference: ImageReference,
    layers: readonly Descriptor[],
    options: PullOptions,
  ): (digest: Digest, signal: AbortSignal) => Promise<void> {
    const byDigest = new Map(layers.map((layer) => [layer.digest, layer]));
    return async (digest, signal) => {
      const layer = byDigest.get(digest);
      if (layer === undefined) return;
      const totalBytes = layer.sizeBytes;
      await this.#fetchBlob(reference, layer, { ...options, signal }, (currentBytes) => {
        options.onProgress({ layer: digest, status: 'downloading', currentBytes, totalBytes });
      });
    };
  }

  /** An image without an index says only in its configuration what it is for. */
  async #checkPlatform(
    { manifest }: ResolvedImage,
    wanted: Platform,
    subject: string,
  ): Promise<void> {
    const bytes = await this.#modules.content.read(manifest.config.digest, MAX_MANIFEST_BYTES);
    requirePlatform(parseImageConfig(bytes, subject).config, wanted, subject);
  }

  async #fetchBlob(
    reference: ImageReference,
    descriptor: Descriptor,
    call: RegistryCall,
    onBytes?: (bytes: number) => void,
  ): Promise<void> {
    const { content, downloads, partials } = this.#modules;
    if (await content.has(descriptor.digest)) return;
    const fetchOnce = (signal: AbortSignal, tell: (bytes: number) => void): Promise<void> =>
      downloads.run(
        () =>
          partials.use(descriptor, signal, (partial) =>
            this.#transfer(reference, descriptor, partial, { ...call, signal, tell }),
          ),
        signal,
      );
    const onProgress = onBytes === undefined ? {} : { onProgress: onBytes };
    // errors name the image and its registry: only pulls from the same place, by the same user,
    // share a transfer
    const key = `${reference.registry}/${reference.repository}@${descriptor.digest} ${keyOfAuth(call.auth)}`;
    await this.#blobs.run(key, fetchOnce, { signal: call.signal, ...onProgress });
  }

  /** Goes on behind the bytes that are here; if all together are wrong, begins anew, once. */
  async #transfer(
    reference: ImageReference,
    descriptor: Descriptor,
    partial: PartialBlob,
    call: RegistryCall & { readonly tell: (bytes: number) => void },
  ): Promise<void> {
    const { content, registry } = this.#modules;
    if (await content.has(descriptor.digest)) {
      await partial.empty();
      return;
    }
    for (let attempt = 1; ; attempt++) {
      const counter = new ByteCounter(partial.sizeBytes, call.tell);
      for await (const chunk of registry.blob(reference, descriptor, partial.sizeBytes, call)) {
        await partial.append(chunk);
        counter.add(chunk.length);
      }
      counter.end();
      try {
        await partial.finish();
        return;
      } catch (error) {
        if (attempt === 2 || !isRetryable(error)) throw error;
      }
    }
  }
}

/** Whose pulls may share what is fetched. */
export function keyOfAuth(auth: RegistryAuth | undefined): string {
  if (auth === undefined) return '';
  return createHash('sha256').update(JSON.stringify(auth)).digest('hex');
}

const TELL_EVERY_BYTES = 1024 * 1024;

/** Tells how many bytes are here, at the start, every megabyte and at the end. */
class ByteCounter {
  readonly #tell: (bytes: number) => void;
  #bytes: number;
  #told: number;

  constructor(startBytes: number, tell: (bytes: number) => void) {
    this.#tell = tell;
    this.#bytes = this.#told = startBytes;
    tell(startBytes);
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes - this.#told >= TELL_EVERY_BYTES) this.#tell((this.#told = this.#bytes));
  }

  end(): void {
    this.#tell(this.#bytes);
  }
}
