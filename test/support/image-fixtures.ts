import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { pack, type Header } from 'tar-stream';

/** One entry of a tar: tar-stream's header, and what is in the file. */
export type TarFile = Partial<Header> & Pick<Header, 'name'> & { content?: string | Buffer };

/** Packs entries into a plain tar. */
export async function makeTar(files: readonly TarFile[]): Promise<Buffer> {
  const tar = pack();
  for (const { content = '', ...header } of files) {
    tar.entry({ mtime: new Date(1_700_000_000_000), ...header }, content);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A blob as manifests name it. */
export interface Blob {
  bytes: Buffer;
  digest: string;
}

export function blobOf(bytes: string | Buffer): Blob {
  const buffer = Buffer.from(bytes);
  return { bytes: buffer, digest: `sha256:${createHash('sha256').update(buffer).digest('hex')}` };
}

/** The `config` of an image's configuration, as Docker writes it. */
export interface ImageSettings {
  Entrypoint?: string[];
  Cmd?: string[];
  Env?: string[];
  WorkingDir?: string;
  User?: string;
  ExposedPorts?: Record<string, object>;
  Volumes?: Record<string, object>;
  StopSignal?: string;
  Healthcheck?: { Test: string[]; Interval?: number; Timeout?: number; Retries?: number };
  Labels?: Record<string, string>;
}

export interface ImageRecipe {
  /** "web:1"; several are possible. */
  tags?: readonly string[];
  /** Bottom first; entries, or a tar made elsewhere. */
  layers: readonly (readonly TarFile[] | Buffer)[];
  config?: ImageSettings;
  architecture?: string;
}

/** An image in memory, from which archives and pushes are made. */
export interface BuiltImage {
  /** Digest of the configuration: the image's id. */
  id: string;
  tags: readonly string[];
  config: Blob;
  /** Uncompressed tars, bottom first. */
  layers: Blob[];
  architecture: string;
}

const ARCHITECTURES: Record<string, string> = { x64: 'amd64', ia32: '386' };
const OCI = 'application/vnd.oci.image';

/** Builds an image for this machine. */
export async function makeImage(recipe: ImageRecipe): Promise<BuiltImage> {
  const architecture = recipe.architecture ?? ARCHITECTURES[process.arch] ?? process.arch;
  const layers: Blob[] = [];
  for (const layer of recipe.layers) {
    layers.push(blobOf(Buffer.isBuffer(layer) ? layer : await makeTar(layer)));
  }
  const config = blobOf(
    JSON.stringify({
      architecture,
      os: 'linux',
      created: '2024-01-02T03:04:05Z',
      config: recipe.config ?? {},
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
      history: layers.map(() => ({ created_by: 'test' })),
    }),
  );
  return { id: config.digest, tags: recipe.tags ?? [], config, layers, architecture };
}

const APPLETS = ['sh', 'cat', 'echo', 'env', 'httpd', 'id', 'ls', 'nc', 'sleep', 'true', 'false'];
const BUSYBOX_PATHS = ['/bin/busybox', '/usr/bin/busybox'];

/**
 * An image of a static busybox (package busybox-static), a layer of its own, with `files` as a
 * second layer. The first layer is the same for every call, so images share it.
 */
export async function busyboxImage(options: {
  tag: string;
  files?: readonly TarFile[];
  config?: ImageSettings;
  /** Further commands of busybox to link. */
  applets?: readonly string[];
}): Promise<BuiltImage> {
  const base: TarFile[] = [
    ...['bin', 'etc', 'root', 'var'].map((name) => folder(name)),
    folder('tmp', 0o1777),
    { name: 'bin/busybox', mode: 0o755, content: readFirst(BUSYBOX_PATHS) },
    ...[...APPLETS, ...(options.applets ?? [])].map((name): TarFile => ({
      name: `bin/${name}`,
      type: 'symlink',
      linkname: 'busybox',
    })),
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\nweb:x:1000:\n' },
  ];
  const files = options.files ?? [];
  return await makeImage({
    tags: [options.tag],
    layers: files.length === 0 ? [base] : [base, files],
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'], ...options.config },
  });
}

/** A directory's entry. */
export function folder(name: string, mode = 0o755): TarFile {
  return { name, type: 'directory', mode };
}

function readFirst(paths: readonly string[]): Buffer {
  for (const path of paths) {
    try {
      return readFileSync(path);
    } catch {
      // the next one
    }
  }
  throw new Error(`no static busybox at ${paths.join(' or ')}: install busybox-static`);
}

/** What `docker save` wrote before version 25: a folder with layer.tar for each layer. */
export async function dockerArchive(...images: readonly BuiltImage[]): Promise<Buffer> {
  const files: TarFile[] = [];
  const first = new Map<string, string>();
  for (const image of images) {
    for (const [i, layer] of image.layers.entries()) {
      const name = `${hex(image.id)}${i}/layer.tar`;
      const shared = first.get(layer.digest);
      files.push(folder(`${hex(image.id)}${i}/`));
      if (shared === undefined) files.push({ name, content: layer.bytes });
      else files.push({ name, type: 'symlink', linkname: `../${shared}` });
      if (shared === undefined) first.set(layer.digest, name);
    }
    files.push({ name: `${hex(image.id)}.json`, content: image.config.bytes });
  }
  const manifest = images.map((image) => ({
    Config: `${hex(image.id)}.json`,
    RepoTags: image.tags.length === 0 ? null : image.tags,
    Layers: image.layers.map((_, i) => `${hex(image.id)}${i}/layer.tar`),
  }));
  return await makeTar([...files, { name: 'manifest.json', content: JSON.stringify(manifest) }]);
}

/** What an image consists of at a registry or in an OCI layout. */
export interface DistributedImage {
  manifest: Blob;
  mediaType: string;
  blobs: Blob[];
}

/** The manifest and blobs of an image. @param options.docker with Docker's media types */
export function distribute(
  image: BuiltImage,
  options: { gzip?: boolean; docker?: boolean; level?: number } = {},
): DistributedImage {
  const { gzip = true, docker = false, level = 6 } = options;
  const layers = image.layers.map((layer) =>
    gzip ? blobOf(gzipSync(layer.bytes, { level })) : layer,
  );
  const vnd = 'application/vnd.docker';
  const types = docker
    ? {
        manifest: `${vnd}.distribution.manifest.v2+json`,
        config: `${vnd}.container.image.v1+json`,
        layer: `${vnd}.image.rootfs.diff.tar.gzip`,
      }
    : {
        manifest: `${OCI}.manifest.v1+json`,
        config: `${OCI}.config.v1+json`,
        layer: `${OCI}.layer.v1.tar${gzip ? '+gzip' : ''}`,
      };
  const manifest = blobOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: describe(image.config, types.config),
      layers: layers.map((layer) => describe(layer, types.layer)),
    }),
  );
  return { manifest, mediaType: types.manifest, blobs: [image.config, ...layers] };
}

/** An index of several images, as a registry holds it. */
export function makeIndex(images: readonly { image: BuiltImage; parts: DistributedImage }[]): {
  manifest: Blob;
  mediaType: string;
} {
  const mediaType = `${OCI}.index.v1+json`;
  const manifests = images.map(({ image, parts }) => ({
    ...describe(parts.manifest, parts.mediaType),
    platform: { os: 'linux', architecture: image.architecture },
  }));
  return {
    manifest: blobOf(JSON.stringify({ schemaVersion: 2, mediaType, manifests })),
    mediaType,
  };
}

/** An OCI layout in a tar. @param options.dockerManifest adds manifest.json, as docker save ≥ 25 does */
export async function ociArchive(
  images: readonly BuiltImage[],
  options: { gzip?: boolean; dockerManifest?: boolean } = {},
): Promise<Buffer> {
  const parts = images.map((image) => distribute(image, { gzip: options.gzip ?? true }));
  const blobs = new Map(parts.flatMap((p) => [p.manifest, ...p.blobs]).map((b) => [b.digest, b]));
  const manifests = images.flatMap((image, i) => {
    const part = parts[i];
    if (part === undefined) return [];
    const entry = describe(part.manifest, part.mediaType);
    const names = image.tags.map((tag) => ({
      'io.containerd.image.name': `docker.io/library/${tag}`,
    }));
    return names.length === 0 ? [entry] : names.map((annotations) => ({ ...entry, annotations }));
  });
  const files: TarFile[] = [
    { name: 'oci-layout', content: JSON.stringify({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: JSON.stringify({ schemaVersion: 2, manifests }) },
    folder('blobs/'),
    folder('blobs/sha256/'),
    ...[...blobs.values()].map((b): TarFile => ({ name: blobPath(b), content: b.bytes })),
  ];
  if (options.dockerManifest === true) {
    const docker = images.map((image, i) => ({
      Config: blobPath(image.config),
      RepoTags: image.tags,
      Layers: (parts[i]?.blobs ?? []).slice(1).map(blobPath),
    }));
    files.push({ name: 'manifest.json', content: JSON.stringify(docker) });
  }
  return await makeTar(files);
}

/** Bytes as the stream that a load takes, in pieces of an awkward size. */
export async function* streamOf(
  bytes: Uint8Array,
  pieceBytes = 10_007,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    yield await Promise.resolve(bytes.subarray(at, at + pieceBytes));
  }
}

function describe(blob: Blob, mediaType: string): object {
  return { mediaType, digest: blob.digest, size: blob.bytes.length };
}

function blobPath(blob: Blob): string {
  return `blobs/sha256/${hex(blob.digest)}`;
}

function hex(digest: string): string {
  return digest.slice('sha256:'.length);
}
