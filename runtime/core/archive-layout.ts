import { hexOf, type Digest } from './digest.js';
import type { Descriptor, Platform } from './manifest.js';

/** What the documents of an archive say of one image. */
export interface ImageOfArchive {
  /** References with a tag: "docker.io/library/web:1"; none for an image saved by its id. */
  readonly names: readonly string[];
  readonly manifest: Descriptor;
  readonly platform: Platform;
  readonly config: Digest;
  /** Names of the layers' entries, bottom first. */
  readonly layerPaths: readonly string[];
}

/**
 * The manifest.json of a docker-archive. Names are whole: docker shortens them itself, and podman
 * takes a short one for an image of its own ("localhost/web").
 */
export function dockerArchiveManifest(images: readonly ImageOfArchive[]): string {
  return JSON.stringify(
    images.map(({ names, config, layerPaths }) => ({
      Config: dockerConfigPath(config),
      RepoTags: names,
      Layers: layerPaths,
    })),
  );
}

export function dockerConfigPath(config: Digest): string {
  return `${hexOf(config)}.json`;
}

/** @param digest of the bytes of this entry */
export function dockerLayerPath(digest: Digest): string {
  return `${hexOf(digest)}.tar`;
}

export function layoutBlobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

export const OCI_LAYOUT = JSON.stringify({ imageLayoutVersion: '1.0.0' });

/**
 * The index.json of an OCI layout, an entry for each name: the whole reference both where containerd
 * looks for it and where the specification has it, so that several images of one tag are told apart.
 */
export function layoutIndex(images: readonly ImageOfArchive[]): string {
  const manifests = images.flatMap(({ names, manifest, platform }) => {
    const { os, architecture, variant } = platform;
    const entry = {
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.sizeBytes,
      platform: { architecture, os, ...(variant === '' ? {} : { variant }) },
    };
    if (names.length === 0) return [entry];
    return names.map((name) => ({ ...entry, annotations: annotationsOf(name) }));
  });
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  return JSON.stringify({ schemaVersion: 2, mediaType, manifests });
}

function annotationsOf(name: string): Record<string, string> {
  return { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name };
}
