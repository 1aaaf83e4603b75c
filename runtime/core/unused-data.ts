import type { Digest } from './digest.js';

/** What images and layers need of the stores, from which follows what nobody needs. */
export interface DataInUse {
  /** Configurations, manifests and layers as they were transferred. */
  readonly blobs: ReadonlySet<Digest>;
  /** By diff ID. */
  readonly layers: ReadonlySet<Digest>;
}

export interface ImageData {
  readonly id: Digest;
  readonly manifests: readonly Digest[];
  readonly layerBlobs: readonly Digest[];
  readonly diffIds: readonly Digest[];
}

export interface LayerData {
  readonly diffId: Digest;
  readonly blob: Digest | undefined;
}

/**
 * What must stay: the blobs and layers of every image, the layers of every container, and with each
 * layer that stays the blob it was unpacked from. So any image here can be saved and pushed, also
 * when its layer came with another image that has gone since.
 * @param containerLayers diff IDs below containers' root file systems
 */
export function dataInUse(
  images: readonly ImageData[],
  layers: readonly LayerData[],
  containerLayers: readonly Digest[],
): DataInUse {
  const kept = new Set([...images.flatMap((image) => image.diffIds), ...containerLayers]);
  const blobs = new Set<Digest>();
  for (const { id, manifests, layerBlobs } of images) {
    for (const digest of [id, ...manifests, ...layerBlobs]) blobs.add(digest);
  }
  for (const { diffId, blob } of layers) {
    if (kept.has(diffId) && blob !== undefined) blobs.add(blob);
  }
  return { blobs, layers: kept };
}
