import type { Clock } from '../../common/clock.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import type { PartialBlobs } from '../content/partial-blobs.js';
import { hexOf, type Digest } from '../core/digest.js';
import type { DiskFacts } from '../core/disk-report.js';
import type { Inventory, InventoryImage, Leftover } from '../core/garbage-plan.js';
import type { ImageCatalog } from './catalog.js';
import type { ImageIndex } from './image-index.js';
import type { KnownImage } from './image-record.js';
import type { LastUse } from './last-use.js';
import type { Leases } from './leases.js';
import type { Reclaimer } from './reclaimer.js';

export interface ImageGarbageModules {
  readonly index: ImageIndex;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly leases: Leases;
  readonly reclaimer: Reclaimer;
  readonly catalog: ImageCatalog;
  readonly lastUse: LastUse;
  readonly clock: Clock;
  readonly partials: Pick<PartialBlobs, 'list' | 'remove'>;
}

const LAYER = 'layer ';
const BLOB = 'blob ';
const PARTIAL = 'partial ';

/** What garbage collection needs of the images. Names are "layer sha256:…", "blob …", "partial …". */
export class ImageGarbage {
  readonly #modules: ImageGarbageModules;

  constructor(modules: ImageGarbageModules) {
    this.#modules = modules;
  }

  async inventory(): Promise<Inventory> {
    const { index, content, layers, partials } = this.#modules;
    const blobs = await content.list();
    const begun = await partials.list();
    const bytes = new Map([
      ...layers.list().map((layer) => [LAYER + layer.diffId, layer.sizeBytes] as const),
      ...blobs.map((blob) => [BLOB + blob.digest, blob.sizeBytes] as const),
      ...begun.map((partial) => [PARTIAL + partial.digest, partial.sizeBytes] as const),
    ]);
    return {
      images: index.all().map((known) => this.#describe(known)),
      bytes,
      leftovers: await this.#findLeftovers(),
    };
  }

  /** @returns undefined when something uses it by now */
  removeImage(id: Digest): Promise<{ bytes: number } | undefined> {
    return this.#modules.catalog.removeUnused(id);
  }

  /** Those that something needs by now stay. @returns the names of those that went, and their bytes */
  async removeLeftovers(names: readonly string[]): Promise<{ removed: string[]; bytes: number }> {
    const { reclaimer, partials } = this.#modules;
    const before = await this.inventory();
    await reclaimer.reclaim({ layers: pick(names, LAYER), blobs: pick(names, BLOB) });
    for (const digest of pick(names, PARTIAL)) await partials.remove(digest);
    const after = new Set((await this.#findLeftovers()).map((leftover) => leftover.name));
    const found = before.leftovers.map((leftover) => leftover.name);
    const removed = found.filter((name) => names.includes(name) && !after.has(name));
    const bytes = removed.reduce((sum, name) => sum + (before.bytes.get(name) ?? 0), 0);
    return { removed, bytes };
  }

  /** Removes all leftovers that have been here for longer. */
  async removeOlder(ageMs: number): Promise<{ removed: string[]; bytes: number }> {
    const latest = this.#modules.clock.nowMs() - ageMs;
    const { leftovers } = await this.inventory();
    const old = leftovers.filter(({ writtenAtMs }) => ageMs === 0 || writtenAtMs <= latest);
    return await this.removeLeftovers(old.map(({ name }) => name));
  }

  /** By the names of files and folders below the engine's root. */
  facts(): DiskFacts['images'] {
    const { index, reclaimer, catalog } = this.#modules;
    return index.all().map((known) => {
      const { blobs, layers } = reclaimer.candidatesOf(known);
      const isUsed = catalog.usersOf(known.record.id).length > 0;
      return { layers: layers.map(hexOf), blobs: blobs.map(hexOf), isUsed };
    });
  }

  #describe(known: KnownImage): InventoryImage {
    const { reclaimer, catalog, leases, lastUse } = this.#modules;
    const { id, addedAtMs } = known.record;
    const { blobs, layers } = reclaimer.candidatesOf(known);
    return {
      id,
      lastUsedAtMs: Math.max(lastUse.of(id) ?? 0, addedAtMs),
      isUsed: catalog.usersOf(id).length > 0 || leases.isHeld(id),
      data: [...layers.map((diffId) => LAYER + diffId), ...blobs.map((digest) => BLOB + digest)],
    };
  }

  async #findLeftovers(): Promise<Leftover[]> {
    const { content, layers, leases, reclaimer, partials } = this.#modules;
    const inUse = await reclaimer.inUse();
    const loose = layers.list().filter(({ diffId }) => !inUse.layers.has(diffId));
    const found = loose.map(({ diffId, unpackedAtMs }) => ({
      name: LAYER + diffId,
      digest: diffId,
      writtenAtMs: unpackedAtMs,
    }));
    for (const { digest, writtenAtMs } of await content.list()) {
      if (!inUse.blobs.has(digest)) found.push({ name: BLOB + digest, digest, writtenAtMs });
    }
    for (const { digest, writtenAtMs } of await partials.list()) {
      found.push({ name: PARTIAL + digest, digest, writtenAtMs });
    }
    const free = found.filter(({ digest }) => !leases.isHeld(digest));
    return free.map(({ name, writtenAtMs }) => ({ name, writtenAtMs }));
  }
}

function pick(names: readonly string[], kind: string): Digest[] {
  return names.flatMap((name) =>
    name.startsWith(kind) ? [name.slice(kind.length) as Digest] : [],
  );
}
