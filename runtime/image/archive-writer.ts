import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import {
  OCI_LAYOUT,
  dockerArchiveManifest,
  dockerConfigPath,
  dockerLayerPath,
  layoutBlobPath,
  layoutIndex,
  type ImageOfArchive,
} from '../core/archive-layout.js';
import type { Digest } from '../core/digest.js';
import type { Platform } from '../core/manifest.js';
import type { ArchiveFormat } from '../engine.js';

/** A file of an archive whose length is known before its bytes are. */
export interface ArchiveFile {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Called once, when its turn has come; must yield exactly `sizeBytes`. */
  open(signal: AbortSignal | undefined): AsyncIterable<Uint8Array>;
}

export interface ArchiveLayer {
  /** As the manifest names it: goes into an OCI layout. */
  readonly blob: ArchiveFile;
  /**
   * The uncompressed tar, by its diff id, for a docker-archive. Where it is not given the blob goes
   * in, which every reader of today decompresses too.
   */
  readonly plain?: ArchiveFile;
}

export interface ArchivedDocument {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

export interface ImageToArchive {
  /** References with a tag: "docker.io/library/web:1"; none for an image saved by its id. */
  readonly names: readonly string[];
  readonly platform: Platform;
  /** Names exactly `config` and the blobs of `layers`. A docker-archive does without it. */
  readonly manifest: ArchivedDocument & { readonly mediaType: string };
  readonly config: ArchivedDocument;
  /** Bottom first. */
  readonly layers: readonly ArchiveLayer[];
}

/** The same images give the same bytes. */
const TIME = new Date(0);

/**
 * The bytes of an archive of images. Each file is written once, however many images have it; nothing
 * is read ahead, so a slow reader holds up the sources.
 * @throws what a source throws; whoever reads must then take what it has for nothing
 */
export async function* writeArchive(
  images: readonly ImageToArchive[],
  options: { format: ArchiveFormat; signal?: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const tar = pack();
  const fill = options.format === 'oci' ? fillLayout : fillDockerArchive;
  const writer = new EntryWriter(tar, options.signal);
  const written = fill(images, writer).then(
    () => {
      tar.finalize();
    },
    (error: unknown) => {
      tar.destroy(error as Error); // which throws it in the loop below
    },
  );
  try {
    for await (const chunk of tar) yield chunk as Uint8Array;
  } finally {
    tar.destroy();
    await written;
  }
}

async function fillDockerArchive(
  images: readonly ImageToArchive[],
  writer: EntryWriter,
): Promise<void> {
  const fileOf = (layer: ArchiveLayer): ArchiveFile => layer.plain ?? layer.blob;
  for (const { layers, config } of images) {
    for (const file of layers.map(fileOf)) await writer.file(dockerLayerPath(file.digest), file);
    await writer.document(dockerConfigPath(config.digest), config.bytes);
  }
  const listed = images.map((image) =>
    describe(
      image,
      image.layers.map((layer) => dockerLayerPath(fileOf(layer).digest)),
    ),
  );
  await writer.document('manifest.json', dockerArchiveManifest(listed));
}

async function fillLayout(images: readonly ImageToArchive[], writer: EntryWriter): Promise<void> {
  await writer.document('oci-layout', OCI_LAYOUT);
  const listed = images.map((image) => describe(image, []));
  await writer.document('index.json', layoutIndex(listed));
  for (const { manifest, config, layers } of images) {
    for (const { bytes, digest } of [manifest, config]) {
      await writer.document(layoutBlobPath(digest), bytes);
    }
    for (const { blob } of layers) await writer.file(layoutBlobPath(blob.digest), blob);
  }
}

function describe(image: ImageToArchive, layerPaths: readonly string[]): ImageOfArchive {
  const { names, platform, manifest, config } = image;
  const { mediaType, digest, bytes } = manifest;
  return {
    names,
    platform,
    manifest: { mediaType, digest, sizeBytes: bytes.length },
    config: config.digest,
    layerPaths,
  };
}

/** Entries of a tar, each name once. */
class EntryWriter {
  readonly #tar: Pack;
  readonly #signal: AbortSignal | undefined;
  readonly #names = new Set<string>();

  constructor(tar: Pack, signal: AbortSignal | undefined) {
    this.#tar = tar;
    this.#signal = signal;
  }

  async document(name: string, content: string | Uint8Array): Promise<void> {
    const bytes = Buffer.from(content);
    await this.#write(name, bytes.length, () => [bytes]);
  }

  async file(name: string, file: ArchiveFile): Promise<void> {
    await this.#write(name, file.sizeBytes, () => file.open(this.#signal));
  }

  async #write(
    name: string,
    size: number,
    open: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    this.#signal?.throwIfAborted();
    if (this.#names.has(name)) return;
    this.#names.add(name);
    await pipeline(open(), this.#tar.entry({ name, size, mode: 0o644, mtime: TIME }));
  }
}
