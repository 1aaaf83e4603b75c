import { HatobaError } from '../../common/errors.js';
import type { Digest } from '../core/digest.js';
import { familiarReference, type ImageReference } from '../core/image-ref.js';
import { MAX_BLOB_BYTES } from '../content/content-store.js';
import {
  MAX_MANIFEST_BYTES,
  choosePlatform,
  parseManifest,
  type Manifest,
  type Platform,
} from '../core/manifest.js';
import type { FetchedManifest, RegistryCall, RegistryClient } from './registry-client.js';

export interface ResolvedImage {
  readonly manifest: Manifest & { kind: 'image' };
  /** The index that led to the manifest, if there is one; last the manifest itself. */
  readonly documents: readonly FetchedManifest[];
  /** What the reference itself names. */
  readonly top: Digest;
}

/**
 * The manifest of an image for one platform, by way of an index if there is one.
 * @throws {HatobaError} not-found, also when there is none for the platform
 */
export async function resolveImage(
  reference: ImageReference,
  options: {
    readonly registry: RegistryClient;
    readonly call: RegistryCall;
    readonly platform: Platform;
  },
): Promise<ResolvedImage> {
  const { registry, call, platform } = options;
  const subject = `image "${familiarReference(reference)}"`;
  const top = await registry.manifest(reference, undefined, call);
  const first = parseManifest(top.bytes, top.mediaType, subject);
  if (first.kind === 'image') {
    checkSizes(first, subject);
    return { manifest: first, documents: [top], top: top.digest };
  }
  const chosen = choosePlatform(first.manifests, platform, subject);
  const inner = await registry.manifest(reference, chosen.digest, call);
  const mediaType = inner.mediaType || chosen.mediaType;
  const manifest = parseManifest(inner.bytes, mediaType, subject);
  if (manifest.kind !== 'image') {
    throw new HatobaError('failed-precondition', `${subject} has an index within an index`);
  }
  checkSizes(manifest, subject);
  return { manifest, documents: [top, { ...inner, mediaType }], top: top.digest };
}

/** @throws {HatobaError} invalid-argument for sizes that no image has, before a byte is transferred */
function checkSizes({ config, layers }: Manifest & { kind: 'image' }, subject: string): void {
  const bounds = [
    { blobs: [config], maxBytes: MAX_MANIFEST_BYTES },
    { blobs: layers, maxBytes: MAX_BLOB_BYTES },
  ];
  for (const { blobs, maxBytes } of bounds) {
    const large = blobs.find((blob) => blob.sizeBytes > maxBytes);
    if (large === undefined) continue;
    const text = `${subject}: blob ${large.digest} has ${large.sizeBytes} bytes, too many`;
    throw new HatobaError('invalid-argument', text);
  }
}
