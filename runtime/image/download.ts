import { createHash } from 'node:crypto';
import { HatobaError } from '../../common/errors.js';
import { digestOfHex, type Digest } from '../core/digest.js';
import { parseImageConfig } from '../core/image-config.js';
import { familiarReference, referenceKey, type ImageReference } from '../core/image-ref.js';
import { requirePlatform, type Descriptor, type Platform } from '../core/manifest.js';
import type { ArchiveFormat } from '../engine.js';
import { writeArchive } from './archive-writer.js';
import type { RegistryCall, RegistryClient } from './registry-client.js';
import { resolveImage } from './resolve.js';

export interface DownloadOptions extends RegistryCall {
  readonly format: ArchiveFormat;
  /** The machine's own. */
  readonly ownPlatform: Platform;
  /** Another one that is wanted. */
  readonly platform: Platform | undefined;
}

/**
 * An archive straight from the registry: nothing of it is kept here. Layers stay compressed, since
 * the archive says their length before their bytes.
 * @throws {HatobaError} as a pull; a blob that is not what its digest says ends the archive
 */
export async function* downloadImage(
  reference: ImageReference,
  registry: RegistryClient,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array> {
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
  const configBytes = await readAll(verified(reference, manifest.config, registry, options));
  const { config } = parseImageConfig(configBytes, subject);
  if (platform !== undefined) requirePlatform(config, platform, subject);
  const image = {
    names: reference.tag === undefined ? [] : [referenceKey({ ...reference, digest: undefined })],
    platform: {
      os: config.os,
      architecture: config.architecture,
      variant: platform?.variant ?? '',
    },
    manifest: document,
    config: { digest: manifest.config.digest, bytes: configBytes },
    layers: manifest.layers.map((layer) => ({
      blob: {
        digest: layer.digest,
        sizeBytes: layer.sizeBytes,
        open: () => verified(reference, layer, registry, options),
      },
    })),
  };
  yield* writeArchive([image], { format, signal });
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
