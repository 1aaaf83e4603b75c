import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { HatobaError, describeError, kindOf } from '../../common/errors.js';
import type { Limiter } from '../content/limiter.js';
import { SharedWork } from '../content/shared-work.js';
import type { Digest } from '../core/digest.js';
import { familiarReference, referenceKey, type ImageReference } from '../core/image-ref.js';
import {
  choosePlatform,
  parseManifest,
  type Descriptor,
  type Manifest,
  type Platform,
} from '../core/manifest.js';
import type { TransferProgress } from '../engine.js';
import { installImage, type InstallModules } from './install.js';
import type { Lease } from './leases.js';
import type { FetchedManifest, RegistryClient } from './registry-client.js';

export interface PullerModules extends InstallModules {
  readonly registry: RegistryClient;
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

interface ResolvedImage {
  readonly manifest: Manifest & { kind: 'image' };
  /** The manifest itself and the index that led to it. */
  readonly digests: readonly Digest[];
  /** What the reference itself names. */
  readonly top: Digest;
}

/** Brings images from registries into the stores; a blob that pulls of one repository want is fetched once. */
export class Puller {
  readonly #modules: PullerModules;
  readonly #blobs = new SharedWork<void, number>();

  constructor(modules: PullerModules) {
    this.#modules = modules;
  }

  /** @throws {HatobaError} naming the image and what the registry answered */
  async pull(reference: ImageReference, call: PullCall): Promise<Image> {
    const subject = `image "${familiarReference(reference)}"`;
    try {
      return await this.#pull(reference, subject, call);
    } catch (error) {
      call.signal.throwIfAborted();
      const text = describeError(error);
      const message = text.startsWith('image "') ? text : `${subject}: ${text}`;
      throw new HatobaError(kindOf(error), message, { cause: error });
    }
  }

  async #pull(reference: ImageReference, subject: string, call: PullCall): Promise<Image> {
    const { lease, signal, onProgress } = call;
    const { manifest, digests, top } = await this.#resolve(reference, subject, call);
    const sizes = new Map(manifest.layers.map((layer) => [layer.digest, layer]));
    const tellImage = (status: TransferProgress['status']): void => {
      onProgress({ layer: '', status, currentBytes: 0, totalBytes: 0 });
    };
    tellImage('downloading');
    await lease.hold(manifest.config.digest);
    await this.#fetchBlob(reference, manifest.config, signal);
    const parts = {
      subject,
      config: manifest.config.digest,
      layers: manifest.layers,
      manifests: digests,
      references: [referenceKey(reference), referenceKey({ ...reference, digest: top })],
    };
    const image = await installImage(parts, this.#modules, {
      ...call,
      fetchLayer: async (digest, layerSignal) => {
        const layer = sizes.get(digest);
        if (layer === undefined) return;
        await this.#fetchBlob(reference, layer, layerSignal, (currentBytes) => {
          const totalBytes = layer.sizeBytes;
          onProgress({ layer: digest, status: 'downloading', currentBytes, totalBytes });
        });
      },
    });
    tellImage('done');
    return image;
  }

  /** The manifest for this machine, by way of an index if there is one; both are kept. */
  async #resolve(
    reference: ImageReference,
    subject: string,
    { lease, signal }: PullCall,
  ): Promise<ResolvedImage> {
    const { registry, platform } = this.#modules;
    const top = await registry.manifest(reference, undefined, signal);
    const first = parseManifest(top.bytes, top.mediaType, subject);
    await this.#keepManifest(top, lease);
    if (first.kind === 'image') return { manifest: first, digests: [top.digest], top: top.digest };
    const chosen = choosePlatform(first.manifests, platform, subject);
    const inner = await registry.manifest(reference, chosen.digest, signal);
    const manifest = parseManifest(inner.bytes, inner.mediaType || chosen.mediaType, subject);
    if (manifest.kind !== 'image') {
      throw new HatobaError('failed-precondition', `${subject} has an index within an index`);
    }
    await this.#keepManifest(inner, lease);
    return { manifest, digests: [top.digest, inner.digest], top: top.digest };
  }

  async #keepManifest({ bytes, digest }: FetchedManifest, lease: Lease): Promise<void> {
    await lease.hold(digest);
    const expected = { digest, sizeBytes: bytes.length };
    await this.#modules.content.put(expected, toStream(bytes));
  }

  async #fetchBlob(
    reference: ImageReference,
    descriptor: Descriptor,
    signal: AbortSignal,
    onBytes?: (bytes: number) => void,
  ): Promise<void> {
    const { content, registry, downloads } = this.#modules;
    if (await content.has(descriptor.digest)) return;
    const fetchOnce = (shared: AbortSignal, tell: (bytes: number) => void): Promise<void> =>
      downloads.run(
        () =>
          registry.blob(reference, descriptor, shared, (source) =>
            content.put(descriptor, counted(source, tell)),
          ),
        shared,
      );
    const onProgress = onBytes === undefined ? {} : { onProgress: onBytes };
    // errors name the image and its registry: only pulls from the same place share a transfer
    const key = `${reference.registry}/${reference.repository}@${descriptor.digest}`;
    await this.#blobs.run(key, fetchOnce, { signal, ...onProgress });
  }
}

const TELL_EVERY_BYTES = 1024 * 1024;

/** Tells how many bytes have passed, at the start, every megabyte and at the end. */
async function* counted(
  source: AsyncIterable<Uint8Array>,
  tell: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let [passed, told] = [0, 0];
  tell(0);
  for await (const chunk of source) {
    passed += chunk.length;
    if (passed - told >= TELL_EVERY_BYTES) tell((told = passed));
    yield chunk;
  }
  tell(passed);
}

// eslint-disable-next-line @typescript-eslint/require-await -- an async iterable is what is asked for
async function* toStream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
