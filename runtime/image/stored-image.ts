import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { HatobaError } from '../../common/errors.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import { digestOfHex, hexOf, type Digest } from '../core/digest.js';
import {
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  parseManifest,
  type Descriptor,
  type Manifest,
} from '../core/manifest.js';
import type { KnownImage } from './image-record.js';

export interface StoredDocument extends Descriptor {
  readonly bytes: Uint8Array;
}

export interface StoredLayer {
  readonly diffId: Digest;
  /** A blob of the content store. */
  readonly blob: Descriptor;
}

/** An image as it leaves this machine: a manifest, and all it names in the content store. */
export interface StoredImage {
  /** The one it came with, if all that names is here as it was; so its digest is the same again. */
  readonly manifest: StoredDocument;
  readonly config: StoredDocument;
  /** Bottom first. */
  readonly layers: readonly StoredLayer[];
}

interface Stores {
  readonly content: ContentStore;
  readonly layers: LayerStore;
}

/**
 * Finds what an image consists of. Hold a lease on all of it before.
 * @throws {HatobaError} failed-precondition when a layer's blob is lost
 */
export async function readStoredImage(known: KnownImage, stores: Stores): Promise<StoredImage> {
  const { record } = known;
  const config = document(
    await stores.content.read(record.id, MAX_MANIFEST_BYTES),
    MEDIA_TYPES.ociConfig,
  );
  const layers: StoredLayer[] = [];
  for (const [i, diffId] of known.blob.diffIds.entries()) {
    layers.push({ diffId, blob: await findBlob(diffId, record.layers[i], known, stores) });
  }
  const original = await findManifest(known, layers, stores.content);
  return {
    config,
    layers,
    manifest:
      original ??
      makeManifest(
        config,
        layers.map((layer) => layer.blob),
      ),
  };
}

/** The layer as it was transferred with this image, or as it came with another one. */
async function findBlob(
  diffId: Digest,
  own: Digest | undefined,
  { record }: KnownImage,
  { content, layers }: Stores,
): Promise<Descriptor> {
  for (const digest of [own, layers.get(diffId)?.blob]) {
    const blob = digest === undefined ? undefined : await content.stat(digest);
    if (blob === undefined) continue;
    const { sizeBytes } = blob;
    return { digest: blob.digest, sizeBytes, mediaType: await mediaTypeOf(blob.digest, content) };
  }
  const id = hexOf(record.id).slice(0, 12);
  throw new HatobaError(
    'failed-precondition',
    `image ${id}: layer ${diffId} is here unpacked only, its archive is lost: pull or load the image again`,
  );
}

/** The manifest the image came with, if it names exactly these blobs. */
async function findManifest(
  { record }: KnownImage,
  layers: readonly StoredLayer[],
  content: ContentStore,
): Promise<StoredDocument | undefined> {
  for (const digest of record.manifests) {
    if (!(await content.has(digest))) continue;
    const bytes = await content.read(digest, MAX_MANIFEST_BYTES);
    const manifest = parseManifest(bytes, '', `manifest ${digest}`);
    if (manifest.kind === 'image' && namesExactly(manifest, record.id, layers)) {
      return { bytes, digest, sizeBytes: bytes.length, mediaType: typeOfManifest(bytes, manifest) };
    }
  }
  return undefined;
}

function namesExactly(
  manifest: Manifest & { kind: 'image' },
  config: Digest,
  layers: readonly StoredLayer[],
): boolean {
  return (
    manifest.config.digest === config &&
    manifest.layers.length === layers.length &&
    manifest.layers.every((layer, i) => layer.digest === layers[i]?.blob.digest)
  );
}

/** OCI manifests need not tell their own type. */
export function typeOfManifest(bytes: Uint8Array, manifest: Manifest & { kind: 'image' }): string {
  const doc = JSON.parse(Buffer.from(bytes).toString()) as { mediaType?: unknown };
  if (typeof doc.mediaType === 'string') return doc.mediaType;
  const isDocker = manifest.config.mediaType === MEDIA_TYPES.dockerConfig;
  return isDocker ? MEDIA_TYPES.dockerManifest : MEDIA_TYPES.ociManifest;
}

/** A new OCI manifest; the same parts give the same bytes. */
export function makeManifest(
  config: StoredDocument,
  layers: readonly Descriptor[],
): StoredDocument {
  const mediaType = MEDIA_TYPES.ociManifest;
  const describe = ({ mediaType: type, digest, sizeBytes }: Descriptor): object => ({
    mediaType: type,
    digest,
    size: sizeBytes,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: describe(config),
    layers: layers.map(describe),
  };
  return document(Buffer.from(JSON.stringify(manifest)), mediaType);
}

function document(bytes: Uint8Array, mediaType: string): StoredDocument {
  const digest = digestOfHex(createHash('sha256').update(bytes).digest('hex'));
  return { bytes, digest, sizeBytes: bytes.length, mediaType };
}

const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const HEAD_BYTES = 4;

/** By the first bytes, since what a registry says of a blob is often wrong. */
async function mediaTypeOf(digest: Digest, content: ContentStore): Promise<string> {
  const handle = await open(content.pathOf(digest), 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const head = buffer.toString('hex');
    if (head.startsWith('1f8b')) return `${LAYER}+gzip`;
    return head === '28b52ffd' ? `${LAYER}+zstd` : LAYER;
  } finally {
    await handle.close();
  }
}
