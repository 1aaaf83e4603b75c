import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { toDigest, type Digest } from '../core/digest.js';
import { parseImageConfig, type ImageConfigBlob } from '../core/image-config.js';
import { familiarReference, parseImageReference, referenceKey } from '../core/image-ref.js';
import { asArray, asCount, asObject, asString, parseJson } from '../core/json-fields.js';
import { MAX_MANIFEST_BYTES } from '../core/manifest.js';
import type { ContentStore } from '../content/content-store.js';

/**
 * An image that is here whole. On disk `images/<64 hex of the id>.json`:
 * `{"id": "sha256:…", "layers": ["sha256:…"], "manifests": ["sha256:…"], "sizeBytes": 1, "addedAtMs": 2}`.
 */
export interface ImageRecord {
  /** Digest of the configuration. */
  readonly id: Digest;
  /** The layers as they were transferred, bottom first: blobs of the content store, if kept there. */
  readonly layers: readonly Digest[];
  /** Manifests of exactly this image that are in the content store. */
  readonly manifests: readonly Digest[];
  /** Of all layers' uncompressed tars. */
  readonly sizeBytes: number;
  readonly addedAtMs: number;
}

/** A record with its configuration, which is read once. */
export interface KnownImage {
  readonly record: ImageRecord;
  readonly blob: ImageConfigBlob;
}

/** @throws {HatobaError} invalid-argument when the file is damaged */
export function parseImageRecord(bytes: Uint8Array, what: string): ImageRecord {
  const record = asObject(parseJson(bytes, what), what);
  const digests = (name: string): Digest[] =>
    asArray(record[name], `${what}: ${name}`).map((d) => toDigest(asString(d, name)));
  return {
    id: toDigest(asString(record['id'], `${what}: id`)),
    layers: digests('layers'),
    manifests: digests('manifests'),
    sizeBytes: asCount(record['sizeBytes'], `${what}: sizeBytes`),
    addedAtMs: asCount(record['addedAtMs'], `${what}: addedAtMs`),
  };
}

/** @throws {HatobaError} not-found without the configuration's blob; invalid-argument if it is damaged */
export async function readKnownImage(
  record: ImageRecord,
  content: ContentStore,
): Promise<KnownImage> {
  const bytes = await content.read(record.id, MAX_MANIFEST_BYTES);
  return { record, blob: parseImageConfig(bytes, `image ${record.id}`) };
}

/** The object users see. @param references keys of the references that name the image */
export function toImage({ record, blob }: KnownImage, references: readonly string[]): Image {
  const parsed = references.map((key) => parseImageReference(key));
  return {
    id: record.id,
    repoTags: parsed
      .filter((r) => r.digest === undefined)
      .map(familiarReference)
      .sort(),
    repoDigests: parsed
      .filter((r) => r.digest !== undefined)
      .map(familiarReference)
      .sort(),
    createdAtMs: timeOf(blob.created),
    sizeBytes: record.sizeBytes,
    architecture: blob.config.architecture,
    os: blob.config.os,
  };
}

/** Milliseconds since the epoch of what an image says; 0 for what is no time, or before it. */
export function timeOf(text: string): number {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}

/** The key under which an image is found again by what a user wrote. */
export function keyOf(reference: string): string {
  return referenceKey(parseImageReference(reference));
}
