import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { decompress } from '../content/compression.js';
import { MAX_BLOB_BYTES, type BlobWriter, type ContentStore } from '../content/content-store.js';
import { digestOfHex, type Digest } from '../core/digest.js';
import { applyChanges } from '../core/image-changes.js';
import { parsePlatformName, type Platform } from '../core/manifest.js';
import { keyOf } from './image-record.js';
import { installImage, type InstallModules } from './install.js';
import type { Lease } from './leases.js';

export interface ImportOptions {
  readonly reference?: string;
  readonly message?: string;
  readonly changes?: readonly string[];
  /** "linux/arm64" */
  readonly platform?: string;
}

export interface ImportModules extends InstallModules {
  /** Of this machine. */
  readonly platform: Platform;
}

/**
 * Makes an image of one layer from the tar of a root file system, compressed or not. The tar is kept
 * as it came.
 * @throws {HatobaError} invalid-argument for wrong words, before anything is read, or for what is no tar
 */
export async function importImage(
  archive: AsyncIterable<Uint8Array>,
  options: ImportOptions,
  modules: ImportModules,
  work: { lease: Lease; signal: AbortSignal },
): Promise<Image> {
  const { content, clock } = modules;
  const references = options.reference === undefined ? [] : [taggedKey(options.reference)];
  const platform = platformNamed(options.platform, modules.platform);
  const config = applyChanges(options.changes ?? []);
  const layer = await storeTar(archive, content, work);
  const document = Buffer.from(
    JSON.stringify(describeImport({ config, platform, layer, clock, message: options.message })),
  );
  const id = digestOfHex(createHash('sha256').update(document).digest('hex'));
  await work.lease.hold(id);
  await content.put({ digest: id, sizeBytes: document.length }, [document]);
  const parts = {
    subject: 'the imported image',
    config: id,
    layers: [{ digest: layer.blob, sizeBytes: layer.sizeBytes }],
    manifests: [],
    references,
  };
  return await installImage(parts, modules, {
    ...work,
    onProgress: () => undefined,
    fetchLayer: () => Promise.resolve(), // it is in the content store
  });
}

interface StoredTar {
  readonly blob: Digest;
  readonly sizeBytes: number;
  /** SHA-256 of the uncompressed tar. */
  readonly diffId: Digest;
}

async function storeTar(
  archive: AsyncIterable<Uint8Array>,
  content: ContentStore,
  { lease, signal }: { lease: Lease; signal: AbortSignal },
): Promise<StoredTar> {
  const writer = await content.create();
  try {
    const hash = createHash('sha256');
    let plainBytes = 0;
    for await (const chunk of decompress(copyTo(writer, archive))) {
      signal.throwIfAborted();
      plainBytes += chunk.length;
      if (plainBytes > MAX_BLOB_BYTES) {
        const most = `${MAX_BLOB_BYTES} bytes uncompressed`;
        throw new HatobaError('resource-exhausted', `the tar has more than ${most}`);
      }
      hash.update(chunk);
    }
    const { digest, sizeBytes } = await writer.finish();
    const diffId = digestOfHex(hash.digest('hex'));
    await lease.hold(digest, diffId);
    await writer.keep();
    return { blob: digest, sizeBytes, diffId };
  } finally {
    await writer.discard();
  }
}

/** Passes the bytes on, and writes them beside. */
async function* copyTo(
  writer: BlobWriter,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    await writer.write(chunk);
    yield chunk;
  }
}

function describeImport(image: {
  config: object;
  platform: Platform;
  layer: StoredTar;
  clock: Clock;
  message: string | undefined;
}): object {
  const { config, platform, layer, message } = image;
  const created = new Date(image.clock.nowMs()).toISOString();
  const comment = message ?? 'imported from a tar';
  const { os, architecture, variant } = platform;
  return {
    architecture,
    ...(variant === '' ? {} : { variant }),
    os,
    created,
    comment,
    config,
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created, comment }],
  };
}

function taggedKey(reference: string): string {
  if (!reference.includes('@')) return keyOf(reference);
  const text = `"${reference}" names its image by digest already: give a name with a tag`;
  throw new HatobaError('invalid-argument', text);
}

function platformNamed(text: string | undefined, own: Platform): Platform {
  if (text === undefined || text === '') return own;
  const platform = parsePlatformName(text.toLowerCase());
  if (platform.os === 'linux') return platform;
  throw new HatobaError('invalid-argument', `platform "${text}": Hatoba runs linux images`);
}
