import { readFile } from 'node:fs/promises';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { HatobaError } from '../../common/errors.js';
import type { Digest } from '../core/digest.js';
import { familiarReference, parseImageReference } from '../core/image-ref.js';
import {
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  choosePlatform,
  layoutImageName,
  parseArchiveManifest,
  parseManifest,
  type ArchivedImage,
  type Descriptor,
  type IndexEntry,
  type Manifest,
  type Platform,
} from '../core/manifest.js';
import { ArchiveBlobs, type StagedBlob } from './archive-blobs.js';
import { keyOf } from './image-record.js';
import type { Lease } from './leases.js';
import { installImage, type ImageParts, type InstallModules } from './install.js';

export interface LoaderModules extends InstallModules {
  readonly platform: Platform;
}

/**
 * Loads every image of an archive: what `docker save` writes (all versions), `podman save`, or an
 * OCI layout. Of the two forms in one archive manifest.json counts, since it has the full names.
 * @returns each image with those of its names that the archive gave it
 * @throws {HatobaError} invalid-argument naming the entry that is wrong
 */
export async function loadArchive(
  archive: AsyncIterable<Uint8Array>,
  modules: LoaderModules,
  work: { lease: Lease; signal: AbortSignal },
): Promise<Image[]> {
  const blobs = new ArchiveBlobs(modules.content);
  try {
    await blobs.readAll(archive, work.signal);
    const found = await findImages(blobs, modules.platform);
    if (found.length === 0) throw new HatobaError('invalid-argument', 'the archive has no image');
    const images = new Map<string, Image>();
    for (const parts of found) {
      await keepBlobs(parts, blobs, work.lease);
      const image = await installImage(parts, modules, {
        ...work,
        onProgress: () => undefined,
        fetchLayer: () => Promise.resolve(), // all are in the content store
      });
      const tags = new Set([...(images.get(image.id)?.repoTags ?? []), ...tagsOf(parts)]);
      images.set(image.id, { ...image, repoTags: [...tags].sort() });
    }
    return [...images.values()];
  } finally {
    await blobs[Symbol.asyncDispose]();
  }
}

function tagsOf({ references }: ImageParts): string[] {
  const parsed = references.map((key) => parseImageReference(key));
  return parsed.filter((reference) => reference.digest === undefined).map(familiarReference);
}

async function findImages(blobs: ArchiveBlobs, platform: Platform): Promise<ImageParts[]> {
  const manifest = blobs.find('manifest.json');
  if (manifest !== undefined) {
    const images = parseArchiveManifest(await readStaged(blobs, 'manifest.json'));
    return images.map((image) => fromArchive(image, blobs));
  }
  if (blobs.find('index.json') === undefined) {
    throw new HatobaError(
      'invalid-argument',
      'the archive is no image: it has neither manifest.json (docker save) nor index.json (OCI layout)',
    );
  }
  const index = parseManifest(
    await readStaged(blobs, 'index.json'),
    MEDIA_TYPES.ociIndex,
    'the archive',
  );
  if (index.kind !== 'index') {
    throw new HatobaError('invalid-argument', 'index.json of the archive is no index');
  }
  return await fromLayout(index.manifests, blobs, platform);
}

/** An image that manifest.json names. */
function fromArchive(image: ArchivedImage, blobs: ArchiveBlobs): ImageParts {
  const subject = `image "${image.repoTags[0] ?? image.configPath}"`;
  const entry = (path: string): { digest: Digest; sizeBytes: number } => {
    const blob = blobs.find(path);
    if (blob !== undefined) return { digest: blob.digest, sizeBytes: blob.sizeBytes };
    const message = `${subject}: manifest.json names "${path}", which the archive does not have`;
    throw new HatobaError('invalid-argument', message);
  };
  return {
    subject,
    config: entry(image.configPath).digest,
    layers: image.layerPaths.map(entry),
    manifests: [],
    references: image.repoTags.map(keyOf),
  };
}

/** The images an OCI layout's index names; of an index within it, the one for this machine. */
async function fromLayout(
  entries: readonly IndexEntry[],
  blobs: ArchiveBlobs,
  platform: Platform,
): Promise<ImageParts[]> {
  const found: ImageParts[] = [];
  for (const entry of entries) {
    if (entry.platform?.os === 'unknown') continue; // an attestation, no image
    const name = layoutImageName(entry.annotations);
    const subject = `image "${name ?? entry.digest}"`;
    const digests: Digest[] = [entry.digest];
    let manifest = await readManifest(blobs, entry, subject);
    if (manifest.kind === 'index') {
      const chosen = choosePlatform(presentOf(manifest.manifests, blobs), platform, subject);
      digests.push(chosen.digest);
      manifest = await readManifest(blobs, chosen, subject);
    }
    if (manifest.kind === 'index') {
      throw new HatobaError('invalid-argument', `${subject} has an index within an index`);
    }
    for (const part of [manifest.config, ...manifest.layers]) checkSize(blobs, part, subject);
    found.push({
      subject,
      config: manifest.config.digest,
      layers: manifest.layers,
      manifests: digests,
      references: name === undefined ? [] : [keyOf(name)],
    });
  }
  return found;
}

async function keepBlobs(parts: ImageParts, blobs: ArchiveBlobs, lease: Lease): Promise<void> {
  const digests = [parts.config, ...parts.layers.map((l) => l.digest), ...parts.manifests];
  await lease.hold(...digests);
  for (const digest of digests) await blobs.keep(required(blobs, digest, parts.subject));
}

async function readStaged(blobs: ArchiveBlobs, name: string): Promise<Uint8Array> {
  const blob = blobs.find(name);
  if (blob === undefined) throw new HatobaError('invalid-argument', `no ${name} in the archive`);
  return await readSmall(blob, name);
}

async function readManifest(
  blobs: ArchiveBlobs,
  descriptor: Descriptor,
  subject: string,
): Promise<Manifest> {
  const blob = checkSize(blobs, descriptor, subject);
  const bytes = await readSmall(blob, `${subject}: blob ${descriptor.digest}`);
  return parseManifest(bytes, descriptor.mediaType, subject);
}

/** Of an index the manifests the archive has; many have those of one platform only. */
function presentOf(entries: readonly IndexEntry[], blobs: ArchiveBlobs): readonly IndexEntry[] {
  const present = entries.filter((entry) => blobs.findDigest(entry.digest) !== undefined);
  return present.length > 0 ? present : entries;
}

/** @throws {HatobaError} invalid-argument when it is not there, or not as long as it is said to be */
function checkSize(
  blobs: ArchiveBlobs,
  { digest, sizeBytes }: Descriptor,
  subject: string,
): StagedBlob {
  const blob = required(blobs, digest, subject);
  if (blob.sizeBytes === sizeBytes) return blob;
  const sizes = `${blob.sizeBytes} bytes in the archive, and should have ${sizeBytes}`;
  throw new HatobaError('invalid-argument', `${subject}: ${digest} has ${sizes}`);
}

async function readSmall(blob: StagedBlob, what: string): Promise<Uint8Array> {
  if (blob.sizeBytes <= MAX_MANIFEST_BYTES) return await readFile(blob.writer.path);
  throw new HatobaError('invalid-argument', `${what} has ${blob.sizeBytes} bytes, too many`);
}

function required(blobs: ArchiveBlobs, digest: Digest, subject: string): StagedBlob {
  const blob = blobs.findDigest(digest);
  if (blob !== undefined) return blob;
  throw new HatobaError('invalid-argument', `${subject}: the archive does not have ${digest}`);
}
