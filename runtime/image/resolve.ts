import { HatobaError } from '../../common/errors.js';
import type { Digest } from '../core/digest.js';
import { familiarReference, type ImageReference } from '../core/image-ref.js';
import { choosePlatform, parseManifest, type Manifest, type Platform } from '../core/manifest.js';
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
  if (first.kind === 'image') return { manifest: first, documents: [top], top: top.digest };
  const chosen = choosePlatform(first.manifests, platform, subject);
  const inner = await registry.manifest(reference, chosen.digest, call);
  const mediaType = inner.mediaType || chosen.mediaType;
  const manifest = parseManifest(inner.bytes, mediaType, subject);
  if (manifest.kind !== 'image') {
    throw new HatobaError('failed-precondition', `${subject} has an index within an index`);
  }
  return { manifest, documents: [top, { ...inner, mediaType }], top: top.digest };
}
