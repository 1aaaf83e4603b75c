import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { HatobaError } from '../../common/errors.js';
import { decompress } from '../content/compression.js';
import type { BlobWriter, ContentStore } from '../content/content-store.js';
import { digestOfHex, type Digest } from '../core/digest.js';
import { parseImageConfig } from '../core/image-config.js';
import { familiarReference, referenceKey, type ImageReference } from '../core/image-ref.js';
import { requirePlatform, type Descriptor, type Platform } from '../core/manifest.js';
import type { ArchiveFormat } from '../engine.js';
import { writeArchive, type ArchiveFile, type ArchiveLayer } from './archive-writer.js';
import type { RegistryCall, RegistryClient } from './registry-client.js';
import { resolveImage } from './resolve.js';
import { typeOfManifest } from './stored-image.js';

export interface DownloadOptions extends RegistryCall {
  readonly format: ArchiveFormat;
  /** The machine's own. */
  readonly ownPlatform: Platform;
  /** Another one that is wanted. */
  readonly platform: Platform | undefined;
}

export interface DownloadModules {
  readonly registry: RegistryClient;
  readonly content: ContentStore;
}

/** What older readers of docker-archives cannot decompress. */
const UNREADABLE = /zstd/;

/**
 * An archive straight from the registry: nothing of it is kept here. Layers stay compressed, since
 * the archive says their length before their bytes; but those with zstd go into a docker-archive
 * plain, by way of a file in staging.
 * @throws {HatobaError} as a pull; a blob that is not what its digest says ends the archive
 */
export async function* downloadImage(
  reference: ImageReference,
  modules: DownloadModules,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array> {
  const { registry } = modules;
  const { ownPlatform, platform, format, signal } = options;
  const subject = `image "${familiarReference(reference)}"`;
  const resolved = await resolveImage(reference, {
    registry,
    call: options,
    platform: platform ?? ownPlatform,
  });
  const { manifest, documents } = resolved;
  const document = documents.at(-1);
  if (document === undefined) throw new Error('an image has a manifest');
  const read = (blob: Descriptor): AsyncIterable<Uint8Array> =>
    verified(reference, blob, registry, options);
  const configBytes = await readAll(read(manifest.config));
  const { config, diffIds } = parseImageConfig(configBytes, subject);
  if (platform !== undefined) requirePlatform(config, platform, subject);
  const spooled: BlobWriter[] = [];
  try {
    const layers: ArchiveLayer[] = [];
    for (const [i, layer] of manifest.layers.entries()) {
      const { digest, sizeBytes, mediaType } = layer;
      const blob = { digest, sizeBytes, open: () => read(layer) };
      if (format === 'oci' || !UNREADABLE.test(mediaType)) layers.push({ blob });
      else {
        const writer = await modules.content.create();
        spooled.push(writer);
        layers.push({ blob, plain: await spool(decompress(read(layer)), writer, diffIds[i]) });
      }
    }
    const { os, architecture } = config;
    const image = {
      names: reference.tag === undefined ? [] : [referenceKey({ ...reference, digest: undefined })],
      platform: { os, architecture, variant: platform?.variant ?? '' },
      manifest: { ...document, mediaType: typeOfManifest(document.bytes, manifest) },
      config: { digest: manifest.config.digest, bytes: configBytes },
      layers,
    };
    yield* writeArchive([image], { format, signal });
  } finally {
    for (const writer of spooled) await writer.discard();
  }
}

/** @throws {HatobaError} invalid-argument for another layer than the configuration names */
async function spool(
  source: AsyncIterable<Uint8Array>,
  writer: BlobWriter,
  diffId: Digest | undefined,
): Promise<ArchiveFile> {
  for await (const chunk of source) await writer.write(chunk);
  const found = await writer.finish();
  if (found.digest === diffId) {
    return { ...found, open: () => createReadStream(writer.path) as AsyncIterable<Buffer> };
  }
  const wanted = `the image's configuration says ${diffId ?? 'nothing of it'}`;
  throw new HatobaError('invalid-argument', `a layer unpacks to ${found.digest}; ${wanted}`);
}

/** The bytes of a blob, which end with an error when they are others than its digest says. */
async function* verified(
  reference: ImageReference,
  descriptor: Descriptor,
  registry: RegistryClient,
  call: RegistryCall,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of registry.blob(reference, descriptor, 0, call)) {
    hash.update(chunk);
    yield chunk;
  }
  const found: Digest = digestOfHex(hash.digest('hex'));
  if (found === descriptor.digest) return;
  throw new HatobaError('unavailable', `blob ${descriptor.digest} arrived as ${found}`);
}

async function readAll(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
