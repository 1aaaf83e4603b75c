import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import type { Digest } from '../core/digest.js';
import { familiarReference, parseImageReference } from '../core/image-ref.js';
import { planRemoval, type ImageUser } from '../core/image-removal.js';
import { layerChain } from '../core/layer-chain.js';
import type { ImageDetails, ImageHistoryEntry, Pruned } from '../engine.js';
import type { EventSink } from '../events/event-bus.js';
import { describeHistory, describeImage } from './details.js';
import type { ImageIndex } from './image-index.js';
import type { LocalImage } from './image-lookup.js';
import { keyOf, type KnownImage } from './image-record.js';
import type { LastUse } from './last-use.js';
import type { Leases } from './leases.js';
import type { Reclaimer } from './reclaimer.js';

export interface CatalogModules {
  readonly index: ImageIndex;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly leases: Leases;
  readonly reclaimer: Reclaimer;
  readonly lastUse: LastUse;
  readonly clock: Clock;
  readonly events: EventSink;
  /** The containers made from an image. */
  readonly usersOf: (id: Digest) => readonly ImageUser[];
  /** What unpacked layers are made into root file systems with: "overlay". */
  readonly snapshotter: () => string;
}

/** The images that are here: what they are, their names, and how they go. */
export class ImageCatalog {
  readonly #modules: CatalogModules;
  /** Names of containers that are being created, by image. */
  readonly #creating = new Map<Digest, Set<string>>();

  constructor(modules: CatalogModules) {
    this.#modules = modules;
  }

  async inspect(reference: string): Promise<ImageDetails> {
    const { index, content, snapshotter } = this.#modules;
    const known = this.mustFind(reference);
    const references = index.referencesOf(known.record.id);
    return await describeImage(known, references, { content, snapshotter: snapshotter() });
  }

  async history(reference: string): Promise<ImageHistoryEntry[]> {
    const known = this.mustFind(reference);
    return await describeHistory(
      known,
      this.#modules.index.referencesOf(known.record.id),
      this.#modules,
    );
  }

  async tag(source: string, target: string): Promise<void> {
    const { index, events } = this.#modules;
    const parsed = parseImageReference(target);
    if (parsed.digest !== undefined) {
      const text = `"${target}" names its image by digest already: give a name with a tag`;
      throw new HatobaError('invalid-argument', text);
    }
    const { id } = this.mustFind(source).record;
    await index.tag(id, keyOf(target));
    events.emit({ type: 'image', action: 'tag', id, attributes: nameAttribute(keyOf(target)) });
  }

  /** See Images.remove. What running pulls and saves need of the image stays until they end. */
  async remove(
    reference: string,
    options: { force?: boolean } = {},
  ): Promise<{ untagged: string[]; deleted: string[] }> {
    const removal = await this.#modules.leases.exclusively(async () => {
      const known = this.mustFind(reference);
      const { id } = known.record;
      const references = this.#modules.index.referencesOf(id);
      const plan = planRemoval({
        id,
        reference: this.#namedBy(reference, references),
        references,
        users: this.usersOf(id),
        force: options.force ?? false,
      });
      return await this.#carryOut(known, plan.untag, plan.deletesImage);
    });
    await removal.finish();
    const { untagged, deleted } = removal;
    return { untagged, deleted };
  }

  /**
   * Removes an image with all its names, unless a container has it.
   * @returns undefined when it stays
   */
  async removeUnused(id: Digest): Promise<{ bytes: number } | undefined> {
    const removal = await this.#modules.leases.exclusively(async () => {
      const { index } = this.#modules;
      const known = index.get(id);
      if (known === undefined || this.usersOf(id).length > 0) return undefined;
      return await this.#carryOut(known, index.referencesOf(id), true);
    });
    await removal?.finish();
    return removal;
  }

  /** See Images.names. One that was never used counts from when it came. */
  names(most: number): string[] {
    const { index, lastUse } = this.#modules;
    const usedMs = ({ record }: KnownImage): number =>
      Math.max(lastUse.of(record.id) ?? 0, record.addedAtMs);
    return index
      .all()
      .sort((a, b) => usedMs(b) - usedMs(a) || (a.record.id < b.record.id ? -1 : 1))
      .flatMap((known) => {
        const { repoTags, repoDigests } = index.describe(known);
        return [...repoTags, ...repoDigests];
      })
      .slice(0, most);
  }

  /** See Images.prune; its age is that of the image's creation, as Docker's `until` counts. */
  async prune(options: { all?: boolean; olderThanMs?: number }): Promise<Pruned> {
    const { index, clock } = this.#modules;
    const { olderThanMs: ageMs = 0 } = options;
    const removed: string[] = [];
    let reclaimedBytes = 0;
    for (const image of index.list()) {
      if (options.all !== true && image.repoTags.length > 0) continue;
      if (ageMs > 0 && image.createdAtMs > clock.nowMs() - ageMs) continue; // clocks differ
      const gone = await this.removeUnused(image.id as Digest);
      if (gone === undefined) continue;
      removed.push(image.id);
      reclaimedBytes += gone.bytes;
    }
    return { removed, reclaimedBytes };
  }

  /** See ImageLookup.keepDuring. */
  async keepDuring<T>(reference: string, container: string, make: () => Promise<T>): Promise<T> {
    const { index, leases, lastUse } = this.#modules;
    const id = index.find(reference)?.record.id;
    if (id === undefined) return await make();
    const creating = this.#creating.get(id) ?? new Set();
    this.#creating.set(id, creating.add(container));
    try {
      await leases.open().hold(); // no removal that does not know of this container runs on
      lastUse.touch(id);
      return await make();
    } finally {
      creating.delete(container);
      if (creating.size === 0) this.#creating.delete(id);
    }
  }

  /** @throws {HatobaError} not-found; invalid-argument as ImageIndex.find */
  mustFind(reference: string): KnownImage {
    const known = this.#modules.index.find(reference);
    if (known !== undefined) return known;
    throw new HatobaError(
      'not-found',
      `image "${reference}" is not on this machine: see which are by \`hatoba image ls\``,
    );
  }

  usersOf(id: Digest): readonly ImageUser[] {
    const creating = [...(this.#creating.get(id) ?? [])];
    return [
      ...this.#modules.usersOf(id),
      ...creating.map((container) => ({ container, isRunning: true })),
    ];
  }

  toLocal(known: KnownImage): LocalImage {
    const { config, diffIds } = known.blob;
    return { image: this.#modules.index.describe(known), config, chain: layerChain(diffIds) };
  }

  async #carryOut(
    known: KnownImage,
    untag: readonly string[],
    deletesImage: boolean,
  ): Promise<{
    untagged: string[];
    deleted: string[];
    bytes: number;
    finish: () => Promise<void>;
  }> {
    const { index, reclaimer, lastUse, events } = this.#modules;
    const { id } = known.record;
    const candidates = reclaimer.candidatesOf(known);
    await index.remove(untag, deletesImage ? id : undefined);
    for (const key of untag) {
      events.emit({ type: 'image', action: 'untag', id, attributes: nameAttribute(key) });
    }
    const untagged = untag.map((key) => familiarReference(parseImageReference(key)));
    if (!deletesImage) {
      return { untagged, deleted: [], bytes: 0, finish: () => Promise.resolve() };
    }
    lastUse.forget(id);
    events.emit({ type: 'image', action: 'delete', id, attributes: {} });
    const { layers, bytes, finish } = await reclaimer.detach(candidates);
    return { untagged, deleted: [id, ...layers], bytes, finish };
  }

  /** @returns undefined when the text is an id or the beginning of one */
  #namedBy(text: string, references: readonly string[]): string | undefined {
    if (/^(?:sha256:)?[0-9a-f]{64}$/.test(text)) return undefined;
    const key = keyOf(text);
    return references.includes(key) ? key : undefined;
  }
}

function nameAttribute(key: string): Record<string, string> {
  return { name: familiarReference(parseImageReference(key)) };
}
