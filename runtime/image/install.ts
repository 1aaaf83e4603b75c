import { setMaxListeners } from 'node:events';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import type { Digest } from '../core/digest.js';
import { parseImageConfig, type ImageConfigBlob } from '../core/image-config.js';
import { MAX_MANIFEST_BYTES } from '../core/manifest.js';
import type { TransferProgress } from '../engine.js';
import type { ImageIndex } from './image-index.js';
import type { Lease } from './leases.js';

export interface InstallModules {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly index: ImageIndex;
  readonly clock: Clock;
}

/** The parts of an image, of which the configuration is in the content store. */
export interface ImageParts {
  /** What errors call it: `image "web:1"`. */
  readonly subject: string;
  readonly config: Digest;
  /** Bottom first. */
  readonly layers: readonly { readonly digest: Digest; readonly sizeBytes: number }[];
  readonly manifests: readonly Digest[];
  /** Keys of the references that shall name it. */
  readonly references: readonly string[];
}

export interface InstallOptions {
  readonly signal: AbortSignal;
  /** Holds the configuration already; takes all the rest. */
  readonly lease: Lease;
  readonly onProgress: (progress: TransferProgress) => void;
  /** Brings a layer's blob into the content store; called where it is lost, or not unpacked yet. */
  readonly fetchLayer: (blob: Digest, signal: AbortSignal) => Promise<void>;
}

/**
 * Makes an image usable: its layers are fetched and unpacked where they are not, then it is listed.
 * When a layer fails, the others are given up, and the first error is thrown after all have ended.
 */
export async function installImage(
  parts: ImageParts,
  modules: InstallModules,
  options: InstallOptions,
): Promise<Image> {
  const { content, layers, index, clock } = modules;
  const bytes = await content.read(parts.config, MAX_MANIFEST_BYTES);
  const blob = parseImageConfig(bytes, parts.subject);
  if (blob.diffIds.length !== parts.layers.length) {
    const counts = `${parts.layers.length} layers and its configuration ${blob.diffIds.length}`;
    throw new HatobaError('invalid-argument', `${parts.subject}: the manifest names ${counts}`);
  }
  await options.lease.hold(...parts.layers.map((layer) => layer.digest), ...blob.diffIds);
  await installLayers(parts, blob, modules, options);
  const record = {
    id: parts.config,
    layers: parts.layers.map((layer) => layer.digest),
    manifests: parts.manifests,
    sizeBytes: blob.diffIds.reduce((sum, diffId) => sum + layers.sizeBytes(diffId), 0),
    addedAtMs: clock.nowMs(),
  };
  return await index.add({ record, blob }, parts.references);
}

async function installLayers(
  parts: ImageParts,
  blob: ImageConfigBlob,
  { layers, content }: Pick<InstallModules, 'layers' | 'content'>,
  options: InstallOptions,
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  setMaxListeners(0, signal); // every layer listens, and that is no leak
  const work = parts.layers.map(async ({ digest, sizeBytes }, i) => {
    const diffId = blob.diffIds[i];
    if (diffId === undefined) return;
    const tell = (status: TransferProgress['status'], currentBytes: number): void => {
      options.onProgress({ layer: digest, status, currentBytes, totalBytes: sizeBytes });
    };
    try {
      if (layers.has(diffId) && (await hasAny(content, [digest, layers.get(diffId)?.blob]))) {
        tell('exists', sizeBytes);
        return;
      }
      tell('waiting', 0);
      await options.fetchLayer(digest, signal);
      const onProgress = (bytes: number): void => {
        tell('unpacking', bytes);
      };
      onProgress(0);
      await layers.ensure(diffId, digest, { signal, onProgress });
      tell('done', sizeBytes);
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(work);
  // the first failure is the cause of the others
  options.signal.throwIfAborted();
  failed.signal.throwIfAborted();
}

/** Whether a layer can be sent and saved: as it came with this image, or with another one. */
async function hasAny(
  content: ContentStore,
  digests: readonly (Digest | undefined)[],
): Promise<boolean> {
  for (const digest of digests) {
    if (digest !== undefined && (await content.has(digest))) return true;
  }
  return false;
}
