import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import type { Digest } from '../core/digest.js';
import { dataInUse, type DataInUse } from '../core/unused-data.js';
import type { ImageIndex } from './image-index.js';
import type { KnownImage } from './image-record.js';
import type { Leases } from './leases.js';

/** Blobs and layers that may go, if nothing needs them. */
export interface Candidates {
  readonly blobs: readonly Digest[];
  /** Diff IDs, bottom first. */
  readonly layers: readonly Digest[];
}

export interface Reclaimed {
  /** Diff IDs, topmost first. */
  readonly layers: readonly Digest[];
  /** Of the blobs, and of the layers' uncompressed tars. */
  readonly bytes: number;
  /** Deletes the layers' files, which takes longer. */
  readonly finish: () => Promise<void>;
}

export interface ReclaimerModules {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly index: ImageIndex;
  readonly leases: Leases;
  /** Diff IDs below the root file systems of containers. */
  readonly containerLayers: () => Promise<readonly Digest[]>;
}

/**
 * Deletes blobs and layers that neither an image nor a container nor running work needs. The index
 * is changed before: a crash in between leaves what garbage collection finds.
 */
export class Reclaimer {
  readonly #modules: ReclaimerModules;

  constructor(modules: ReclaimerModules) {
    this.#modules = modules;
  }

  /** Everything of an image. */
  candidatesOf({ record, blob }: KnownImage): Candidates {
    const sources = blob.diffIds.flatMap((diffId) => this.#modules.layers.get(diffId)?.blob ?? []);
    const blobs = [record.id, ...record.manifests, ...record.layers, ...sources];
    return { blobs, layers: blob.diffIds };
  }

  /** What images and containers need now; running work may need more. */
  async inUse(): Promise<DataInUse> {
    const { index, layers, containerLayers } = this.#modules;
    const images = index.all().map(({ record, blob }) => ({
      id: record.id,
      manifests: record.manifests,
      layerBlobs: record.layers,
      diffIds: blob.diffIds,
    }));
    return dataInUse(images, layers.list(), await containerLayers());
  }

  /** To be called within leases.exclusively. */
  async detach(candidates: Candidates): Promise<Reclaimed> {
    const { content, layers, leases } = this.#modules;
    const inUse = await this.inUse();
    const detached: Digest[] = [];
    const deletions: (() => Promise<void>)[] = [];
    let bytes = 0;
    for (const diffId of new Set(candidates.layers.toReversed())) {
      const layer = layers.get(diffId);
      if (layer === undefined || inUse.layers.has(diffId) || leases.isHeld(diffId)) continue;
      deletions.push(await layers.detach(diffId));
      detached.push(diffId);
      bytes += layer.sizeBytes;
    }
    for (const digest of new Set(candidates.blobs)) {
      if (inUse.blobs.has(digest) || leases.isHeld(digest) || this.#isSource(digest)) continue;
      bytes += (await content.stat(digest))?.sizeBytes ?? 0;
      await content.remove(digest);
    }
    const finish = async (): Promise<void> => {
      for (const deletion of deletions) await deletion();
    };
    return { layers: detached, bytes, finish };
  }

  /** @returns what went */
  async reclaim(candidates: Candidates): Promise<Omit<Reclaimed, 'finish'>> {
    const { finish, ...done } = await this.#modules.leases.exclusively(() =>
      this.detach(candidates),
    );
    await finish();
    return done;
  }

  /** A layer that is left, held by running work, keeps its blob. */
  #isSource(blob: Digest): boolean {
    return this.#modules.layers.list().some((layer) => layer.blob === blob);
  }
}
