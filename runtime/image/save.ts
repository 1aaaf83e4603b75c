import { createReadStream } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import { decompress } from '../content/compression.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import type { Digest } from '../core/digest.js';
import { parseImageReference } from '../core/image-ref.js';
import type { ArchiveFormat } from '../engine.js';
import {
  writeArchive,
  type ArchiveFile,
  type ArchiveLayer,
  type ImageToArchive,
} from './archive-writer.js';
import type { ImageCatalog } from './catalog.js';
import type { ImageIndex } from './image-index.js';
import { keyOf, type KnownImage } from './image-record.js';
import { holdImage } from './leased-work.js';
import type { Leases } from './leases.js';
import type { Reclaimer } from './reclaimer.js';
import { readStoredImage, type StoredLayer } from './stored-image.js';

export interface SaveModules {
  readonly catalog: ImageCatalog;
  readonly index: ImageIndex;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly leases: Leases;
  readonly reclaimer: Reclaimer;
}

const READ_BYTES = 256 * 1024;

/**
 * The bytes of an archive of images; they cannot be removed until it ends.
 * @throws {HatobaError} not-found, before the first byte
 */
export async function* saveImages(
  references: readonly string[],
  options: { format: ArchiveFormat; signal?: AbortSignal },
  modules: SaveModules,
): AsyncGenerator<Uint8Array> {
  if (references.length === 0) {
    throw new HatobaError('invalid-argument', 'no image to save: name one or more');
  }
  const lease = modules.leases.open();
  try {
    const images: ImageToArchive[] = [];
    for (const [id, names] of findSaved(references, modules)) {
      const known = await holdImage(id, lease, modules);
      images.push(await describeSaved(known, names, modules));
    }
    yield* writeArchive(images, options);
  } finally {
    lease.release();
  }
}

/** The images asked for, each once, with the names that were asked for. */
function findSaved(
  references: readonly string[],
  { catalog, index }: SaveModules,
): Map<Digest, string[]> {
  const found = new Map<Digest, Set<string>>();
  const add = (id: Digest, names: readonly string[]): void => {
    found.set(id, new Set([...(found.get(id) ?? []), ...names]));
  };
  for (const reference of references) {
    const tags = tagsOfRepository(reference, index);
    if (tags.length === 0) {
      const { id } = catalog.mustFind(reference).record;
      add(id, tagAskedFor(reference, index.referencesOf(id)));
    }
    for (const [key, id] of tags) add(id, [key]);
  }
  return new Map([...found].map(([id, names]) => [id, [...names]]));
}

/** A name without a tag means all tags of it, as `docker save` has it. */
function tagsOfRepository(reference: string, index: ImageIndex): [string, Digest][] {
  const isWhole = reference.includes('@') || /:[^/]*$/.test(reference);
  if (isWhole || isId(reference)) return [];
  const wanted = parseImageReference(reference);
  return index.references().filter(([key]) => {
    const { registry, repository, digest } = parseImageReference(key);
    const isSame = registry === wanted.registry && repository === wanted.repository;
    return isSame && digest === undefined;
  });
}

function tagAskedFor(reference: string, references: readonly string[]): string[] {
  if (isId(reference)) return [];
  const key = keyOf(reference);
  return references.includes(key) && !key.includes('@') ? [key] : [];
}

function isId(reference: string): boolean {
  return /^(?:sha256:)?[0-9a-f]{64}$/.test(reference);
}

async function describeSaved(
  known: KnownImage,
  names: readonly string[],
  modules: SaveModules,
): Promise<ImageToArchive> {
  const { manifest, config, layers } = await readStoredImage(known, modules);
  const { os, architecture } = known.blob.config;
  return {
    names,
    platform: { os, architecture, variant: '' },
    manifest,
    config,
    layers: layers.map((layer) => toArchiveLayer(layer, modules)),
  };
}

function toArchiveLayer(
  { diffId, blob }: StoredLayer,
  { content, layers }: SaveModules,
): ArchiveLayer {
  const path = content.pathOf(blob.digest);
  const read = (signal: AbortSignal | undefined): AsyncIterable<Uint8Array> =>
    createReadStream(path, {
      highWaterMark: READ_BYTES,
      ...(signal === undefined ? {} : { signal }),
    }) as AsyncIterable<Buffer>;
  const plain: ArchiveFile = {
    digest: diffId,
    sizeBytes: layers.sizeBytes(diffId),
    open: (signal) => decompress(read(signal)),
  };
  return { blob: { digest: blob.digest, sizeBytes: blob.sizeBytes, open: read }, plain };
}
