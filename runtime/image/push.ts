import { createReadStream } from 'node:fs';
import { createGzip } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { setMaxListeners } from 'node:events';
import { HatobaError } from '../../common/errors.js';
import type { BlobWriter, ContentStore, ExpectedBlob } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import { Limiter } from '../content/limiter.js';
import { isDigest, type Digest } from '../core/digest.js';
import { familiarName, familiarReference, type ImageReference } from '../core/image-ref.js';
import type { Descriptor } from '../core/manifest.js';
import type { RegistryAuth, TransferProgress } from '../engine.js';
import { BlobUploader, type BlobToUpload } from './blob-upload.js';
import type { BlobOrigins } from './blob-origins.js';
import type { KnownImage } from './image-record.js';
import type { Access } from './registry-auth.js';
import type { RegistryClient } from './registry-client.js';
import type { Purpose } from './registry-http.js';
import {
  makeManifest,
  readStoredImage,
  type StoredDocument,
  type StoredImage,
} from './stored-image.js';

export interface PusherModules {
  readonly registry: RegistryClient;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly origins: BlobOrigins;
}

export interface PushOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TransferProgress) => void;
  readonly auth?: RegistryAuth;
}

/** As many as Docker. */
const PARALLEL_UPLOADS = 5;
const READ_BYTES = 256 * 1024;
const PLAIN_LAYER = 'application/vnd.oci.image.layer.v1.tar';
/** Token servers are asked for no more repositories than this. */
const MAX_SOURCES = 5;

/** One push, its parts together. */
interface Push {
  readonly uploader: BlobUploader;
  readonly reference: ImageReference;
  readonly tell: PushOptions['onProgress'];
  readonly signal: AbortSignal;
}

/**
 * Sends images to registries: first the layers that are missing there, then the configuration, last
 * the manifest, so that what a tag names is always whole. An image goes in the manifest it came
 * with; one from an archive of plain layers gets a new one with compressed layers, always the same.
 */
export class Pusher {
  readonly #modules: PusherModules;
  readonly #uploads = new Limiter(PARALLEL_UPLOADS);

  constructor(modules: PusherModules) {
    this.#modules = modules;
  }

  /**
   * @param known of which the caller holds all parts
   * @returns the digest of the manifest, as the registry has it now
   * @throws {HatobaError} unauthenticated | permission-denied | unavailable | deadline, with the
   *   registry's answer
   */
  async push(known: KnownImage, reference: ImageReference, options: PushOptions): Promise<Digest> {
    const { registry } = this.#modules;
    const stored = await readStoredImage(known, this.#modules);
    const access = await this.#access(stored, reference, options.auth);
    const subject = `image "${familiarName(reference)}"`;
    const { repository } = reference;
    const failed = new AbortController();
    const signal = AbortSignal.any([options.signal, failed.signal]);
    setMaxListeners(0, signal); // every layer listens, and that is no leak
    const push: Push = {
      uploader: new BlobUploader({ registry, access, repository, subject, signal }),
      reference,
      tell: options.onProgress,
      signal,
    };
    // plain layers are compressed only where no manifest says that they are to be plain
    const isOriginal = known.record.manifests.includes(stored.manifest.digest);
    const work = stored.layers.map(async ({ blob }) => {
      try {
        return await this.#uploads.run(() => this.#pushLayer(blob, isOriginal, push), signal);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
    await Promise.allSettled(work);
    options.signal.throwIfAborted();
    failed.signal.throwIfAborted(); // the first failure is the cause of the others
    const layers = await Promise.all(work);
    await this.#pushBlob(bytesToUpload(stored.config), push);
    const manifest = isOriginal ? stored.manifest : makeManifest(stored.config, layers);
    await this.#pushManifest(manifest, access, reference, options.signal);
    await this.#modules.origins.add(reference, [stored.config, ...layers]);
    return manifest.digest;
  }

  /** For the repository itself, and to read those that may give a layer. */
  async #access(
    stored: StoredImage,
    reference: ImageReference,
    auth: RegistryAuth | undefined,
  ): Promise<Access> {
    const { registry, origins } = this.#modules;
    const endpoint = registry.origin(reference.registry);
    const access = await registry.access(endpoint, reference, auth, 'pull,push');
    const digests = stored.layers.map(
      ({ blob }) => origins.gzipOf(blob.digest)?.digest ?? blob.digest,
    );
    const sources = new Set(
      digests.flatMap((digest) => origins.repositoriesOf(reference.registry, digest)),
    );
    sources.delete(reference.repository);
    const scopes = [...sources].sort().slice(0, MAX_SOURCES);
    return {
      ...access,
      scopes: [...access.scopes, ...scopes.map((name) => `repository:${name}:pull`)],
    };
  }

  /** @returns the layer as the registry has it */
  async #pushLayer(blob: Descriptor, isOriginal: boolean, push: Push): Promise<Descriptor> {
    if (!isOriginal && blob.mediaType === PLAIN_LAYER) return await this.#pushPlain(blob, push);
    const path = this.#modules.content.pathOf(blob.digest);
    await this.#pushBlob(fileToUpload(blob, path), push);
    return blob;
  }

  /** A layer that is plain here and compressed there; compressed only if the registry lacks it. */
  async #pushPlain(blob: Descriptor, push: Push): Promise<Descriptor> {
    const { content, origins } = this.#modules;
    const mediaType = `${PLAIN_LAYER}+gzip`;
    const known = origins.gzipOf(blob.digest);
    if (known !== undefined && (await this.#isThere(known, push))) return { ...known, mediaType };
    const writer = await content.create();
    try {
      const gzipped = await compress(content.pathOf(blob.digest), writer, push.signal);
      if (known?.digest !== gzipped.digest) await origins.addGzip(blob.digest, gzipped);
      await this.#pushBlob(fileToUpload(gzipped, writer.path), push);
      return { ...gzipped, mediaType };
    } finally {
      await writer.discard();
    }
  }

  async #pushBlob(blob: BlobToUpload, push: Push): Promise<void> {
    if (await this.#isThere(blob, push)) return;
    const { digest, sizeBytes: totalBytes } = blob;
    const tell = (status: TransferProgress['status'], currentBytes: number): void => {
      push.tell({ layer: digest, status, currentBytes, totalBytes });
    };
    tell('waiting', 0);
    await push.uploader.upload(blob, (bytes) => {
      tell('pushing', bytes);
    });
    tell('done', totalBytes);
  }

  /** Whether the repository has a blob already, or has it now from another one. */
  async #isThere(blob: ExpectedBlob, { uploader, reference, tell }: Push): Promise<boolean> {
    const { digest, sizeBytes } = blob;
    const told = { layer: digest, currentBytes: sizeBytes, totalBytes: sizeBytes };
    if (await uploader.has(blob)) {
      tell({ ...told, status: 'exists' });
      return true;
    }
    const sources = this.#modules.origins.repositoriesOf(reference.registry, digest);
    if (!(await uploader.mount(digest, sources))) return false;
    tell({ ...told, status: 'mounted' });
    return true;
  }

  async #pushManifest(
    manifest: StoredDocument,
    access: Access,
    reference: ImageReference,
    signal: AbortSignal,
  ): Promise<void> {
    const { registry } = this.#modules;
    const purpose: Purpose = { subject: `image "${familiarReference(reference)}"`, deed: 'pushed' };
    const path = `${reference.repository}/manifests/${reference.tag ?? manifest.digest}`;
    const headers = { 'Content-Type': manifest.mediaType };
    const request = { method: 'PUT', path, headers, body: manifest.bytes } as const;
    await registry.retry(signal, async () => {
      const answer = await registry.http.send(access, request, purpose, signal);
      await answer.close();
      const claimed = answer.headers.get('docker-content-digest') ?? manifest.digest;
      if (!isDigest(claimed) || claimed === manifest.digest) return;
      const text = `${purpose.subject} not pushed: manifest ${manifest.digest} is ${claimed} at the registry`;
      throw new HatobaError('unavailable', text);
    });
  }
}

function bytesToUpload({ digest, sizeBytes, bytes }: StoredDocument): BlobToUpload {
  return {
    digest,
    sizeBytes,
    // eslint-disable-next-line @typescript-eslint/require-await -- an async iterable is what is asked for
    open: async function* (start) {
      yield bytes.subarray(start);
    },
  };
}

function fileToUpload({ digest, sizeBytes }: ExpectedBlob, path: string): BlobToUpload {
  const open = (start: number): AsyncIterable<Uint8Array> =>
    createReadStream(path, { start, highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
  return { digest, sizeBytes, open };
}

/** The same bytes each time: the gzip header has neither name nor time. */
async function compress(
  path: string,
  writer: BlobWriter,
  signal: AbortSignal,
): Promise<ExpectedBlob> {
  await pipeline(
    createReadStream(path, { highWaterMark: READ_BYTES }),
    createGzip({ chunkSize: READ_BYTES }),
    async (source: AsyncIterable<Buffer>) => {
      for await (const chunk of source) await writer.write(chunk);
    },
    { signal },
  );
  return await writer.finish();
}
