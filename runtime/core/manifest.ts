import { HatobaError } from '../../common/errors.js';
import { toDigest, type Digest } from './digest.js';
import { MAX_LAYERS } from './image-config.js';
import {
  asArray,
  asCount,
  asObject,
  asString,
  optionalString,
  optionalStrings,
  optionalTexts,
  parseJson,
  type JsonObject,
} from './json-fields.js';

/** How a manifest names a blob. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface Platform {
  readonly os: string;
  /** Go's names: "amd64", "arm64", "386". */
  readonly architecture: string;
  /** "v7", "v8" or empty. */
  readonly variant: string;
}

export interface IndexEntry extends Descriptor {
  readonly platform: Platform | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A manifest of one image, or an index of manifests for several platforms. */
export type Manifest =
  | { readonly kind: 'image'; readonly config: Descriptor; readonly layers: readonly Descriptor[] }
  | { readonly kind: 'index'; readonly manifests: readonly IndexEntry[] };

export const MEDIA_TYPES = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
} as const;

/** Manifests and configurations are small; what is larger is an attack or no manifest. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/**
 * Reads a Docker (schema 2) or OCI manifest or index.
 * @param mediaType what the registry or the index said; the document's own field decides
 * @throws {HatobaError} invalid-argument naming the field; failed-precondition for schema 1 and for
 *   artifacts that are no container image
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, what: string): Manifest {
  const doc = asObject(parseJson(bytes, `manifest of ${what}`), `manifest of ${what}`);
  if (doc['schemaVersion'] === 1) {
    throw new HatobaError(
      'failed-precondition',
      `${what} has a manifest of schema version 1, which is obsolete: push the image again with a current tool`,
    );
  }
  const type = optionalString(doc['mediaType'], `manifest of ${what}: mediaType`) || mediaType;
  const isIndex =
    type === MEDIA_TYPES.dockerList || type === MEDIA_TYPES.ociIndex || doc['layers'] === undefined;
  return isIndex ? parseIndex(doc, what) : parseImageManifest(doc, what);
}

function parseIndex(doc: JsonObject, what: string): Manifest {
  const where = `index of ${what}: manifests`;
  const entries = asArray(doc['manifests'], where);
  return { kind: 'index', manifests: entries.map((m, i) => parseEntry(m, `${where}[${i}]`)) };
}

function parseEntry(value: unknown, what: string): IndexEntry {
  const entry = asObject(value, what);
  const platform = entry['platform'];
  return {
    ...parseDescriptor(value, what),
    platform: platform === undefined ? undefined : parsePlatform(platform, `${what}.platform`),
    annotations: optionalTexts(entry['annotations'], `${what}.annotations`),
  };
}

function parsePlatform(value: unknown, what: string): Platform {
  const platform = asObject(value, what);
  return {
    os: optionalString(platform['os'], `${what}.os`),
    architecture: optionalString(platform['architecture'], `${what}.architecture`),
    variant: optionalString(platform['variant'], `${what}.variant`),
  };
}

function parseImageManifest(doc: JsonObject, what: string): Manifest {
  const config = parseDescriptor(doc['config'], `manifest of ${what}: config`);
  if (config.mediaType !== MEDIA_TYPES.dockerConfig && config.mediaType !== MEDIA_TYPES.ociConfig) {
    throw new HatobaError(
      'failed-precondition',
      `${what} is no container image: its configuration is of type "${config.mediaType}"`,
    );
  }
  const layers = asArray(doc['layers'], `manifest of ${what}: layers`, MAX_LAYERS);
  return {
    kind: 'image',
    config,
    layers: layers.map((l, i) => parseDescriptor(l, `manifest of ${what}: layers[${i}]`)),
  };
}

function parseDescriptor(value: unknown, what: string): Descriptor {
  const descriptor = asObject(value, what);
  return {
    mediaType: optionalString(descriptor['mediaType'], `${what}.mediaType`),
    digest: toDigest(asString(descriptor['digest'], `${what}.digest`)),
    sizeBytes: asCount(descriptor['size'], `${what}.size`),
  };
}

const GO_ARCHITECTURES = new Map([
  ['x64', 'amd64'],
  ['ia32', '386'],
  ['ppc64', 'ppc64le'],
]);

/** The platform of a machine. @param nodeArch Node's process.arch: "x64", "arm64" */
export function platformOf(nodeArch: string): Platform {
  const architecture = GO_ARCHITECTURES.get(nodeArch) ?? nodeArch;
  return { os: 'linux', architecture, variant: '' };
}

/**
 * Reads a platform as users write it: "linux/arm64", "linux/arm/v7", or "arm64" for Linux.
 * @throws {HatobaError} invalid-argument
 */
export function parsePlatformName(text: string): Platform {
  const parts = text.includes('/') ? text.split('/') : ['linux', text];
  const [os = '', architecture = '', variant = ''] = parts;
  const isRight = parts.length <= 3 && parts.every((part) => /^[a-z0-9_.-]+$/.test(part));
  if (isRight) return { os, architecture: GO_ALIASES.get(architecture) ?? architecture, variant };
  throw new HatobaError(
    'invalid-argument',
    `platform "${text}": a system and a processor are expected, like "linux/arm64" or "linux/arm/v7"`,
  );
}

/** Names of processors that people write, and what images call them. */
const GO_ALIASES = new Map([
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['aarch64', 'arm64'],
  ['i386', '386'],
  ['armhf', 'arm'],
]);

/**
 * The manifest of an index that fits a machine: same system and processor, and variant if one is
 * wanted; of several variants ("v6", "v7") the newest. An entry without platform fits only where it
 * is the only one.
 * @throws {HatobaError} not-found naming the platforms there are
 */
export function choosePlatform(
  manifests: readonly IndexEntry[],
  wanted: Platform,
  what: string,
): IndexEntry {
  const [only] = manifests;
  if (manifests.length === 1 && only?.platform === undefined && only !== undefined) return only;
  const fits = manifests
    .filter(({ platform }) => platform !== undefined && isSamePlatform(platform, wanted))
    .sort((a, b) => compareText(b.platform?.variant ?? '', a.platform?.variant ?? ''));
  if (fits[0] !== undefined) return fits[0];
  // attestations are entries of platform unknown/unknown
  const offered = manifests.flatMap(({ platform }) =>
    platform === undefined || platform.os === 'unknown' ? [] : [platform],
  );
  throw noPlatform(offered, wanted, what);
}

/**
 * Checks what an image's own configuration says it is for.
 * @throws {HatobaError} not-found naming both platforms
 */
export function requirePlatform(
  found: { readonly os: string; readonly architecture: string },
  wanted: Platform,
  what: string,
): void {
  // configurations seldom tell a variant
  if (found.os === wanted.os && found.architecture === wanted.architecture) return;
  throw noPlatform([{ ...found, variant: '' }], wanted, what);
}

function isSamePlatform(found: Platform, wanted: Platform): boolean {
  const variants = [found.variant, wanted.variant].map((variant) =>
    // of 64-bit ARM there is one, which most do not write
    wanted.architecture === 'arm64' && variant === '' ? 'v8' : variant,
  );
  return (
    found.os === wanted.os &&
    found.architecture === wanted.architecture &&
    (wanted.variant === '' || variants[0] === variants[1])
  );
}

function noPlatform(offered: readonly Platform[], wanted: Platform, what: string): HatobaError {
  const names = offered.map(platformName).join(', ');
  const text = `${what} has no manifest for ${platformName(wanted)}; it has ${names || 'none'}`;
  return new HatobaError('not-found', text);
}

function platformName({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}

/** Comparison of plain text, the same under every locale. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** One image of a docker-archive: names of entries of the archive. */
export interface ArchivedImage {
  readonly configPath: string;
  readonly repoTags: readonly string[];
  /** Bottom first. */
  readonly layerPaths: readonly string[];
}

/**
 * Reads the manifest.json of a docker-archive.
 * @throws {HatobaError} invalid-argument naming the field
 */
export function parseArchiveManifest(bytes: Uint8Array): readonly ArchivedImage[] {
  const what = 'manifest.json of the archive';
  return asArray(parseJson(bytes, what), what).map((value, i) => {
    const image = asObject(value, `${what}: [${i}]`);
    return {
      configPath: asString(image['Config'], `${what}: [${i}].Config`),
      repoTags: optionalStrings(image['RepoTags'], `${what}: [${i}].RepoTags`),
      layerPaths: optionalStrings(image['Layers'], `${what}: [${i}].Layers`),
    };
  });
}

/**
 * The name an entry of an OCI layout's index.json gives its image. `io.containerd.image.name` is a
 * whole reference; `org.opencontainers.image.ref.name` may be one, or a bare tag, which names nothing.
 */
export function layoutImageName(annotations: Readonly<Record<string, string>>): string | undefined {
  const whole = annotations['io.containerd.image.name'];
  if (whole !== undefined && whole !== '') return whole;
  const name = annotations['org.opencontainers.image.ref.name'];
  return name !== undefined && /[:/]/.test(name) ? name : undefined;
}
