import type { ImageHistoryEntry, ImageInspectResponse } from '../../proto/gen/hatoba/v1/engine.js';
import type { Image, RegistryAuth } from '../../proto/gen/hatoba/v1/types.js';

export type { ImageHistoryEntry, RegistryAuth };
/** An image with the fields of `docker image inspect`. */
export type ImageDetails = ImageInspectResponse;

export interface TransferProgress {
  /** Layer digest; empty for the image as a whole. */
  layer: string;
  status:
    | 'waiting'
    | 'downloading'
    | 'unpacking'
    | 'pushing'
    | 'mounted' // the registry had it in another repository
    | 'exists'
    | 'done';
  currentBytes: number;
  totalBytes: number;
}

export interface TransferOptions {
  signal?: AbortSignal;
  onProgress?: (progress: TransferProgress) => void;
  /** Absent: those of the engine's own credentials, else none. */
  auth?: RegistryAuth;
}

export type ArchiveFormat = 'docker-archive' | 'oci';

export interface Pruned {
  /** Ids or names. */
  removed: string[];
  reclaimedBytes: number;
}

export interface Images {
  /**
   * Reads a docker-archive or an OCI layout (tar, gzip or not) and unpacks what is not there yet.
   * @returns each image with those of its names that the archive gave it
   * @throws {HatobaError} invalid-argument naming the entry that is wrong
   */
  load(archive: AsyncIterable<Uint8Array>, options?: { signal?: AbortSignal }): Promise<Image[]>;
  /**
   * Makes an image of one layer from the tar of a root file system (compressed or not).
   * @param options.changes Dockerfile words: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME,
   *   WORKDIR, STOPSIGNAL, HEALTHCHECK
   */
  import(
    archive: AsyncIterable<Uint8Array>,
    options: {
      reference?: string;
      message?: string;
      changes?: readonly string[];
      platform?: string;
      signal?: AbortSignal;
    },
  ): Promise<Image>;
  /**
   * An archive of images, as a stream of bytes: `docker-archive` (docker load, podman load) or an
   * OCI layout.
   * @param references tags are written into the archive; an id has none
   * @throws {HatobaError} not-found
   */
  save(
    references: readonly string[],
    options: { format: ArchiveFormat; signal?: AbortSignal },
  ): AsyncIterable<Uint8Array>;
  /**
   * Pulls and unpacks an image; at once, and without asking its registry, when all of it is there.
   * Calls for the same reference share one pull. One that was interrupted goes on where it stopped.
   * @param reference Docker's grammar: "nginx", "127.0.0.1:5000/web:2", "repo@sha256:…"
   * @param options.refresh asks the registry although the tag is here, since it may have moved
   * @param options.platform "linux/arm64"; the machine's own by default
   * @throws {HatobaError} not-found | unavailable | unauthenticated, with image and registry answer
   */
  pull(
    reference: string,
    options?: TransferOptions & { refresh?: boolean; platform?: string },
  ): Promise<Image>;
  /**
   * An archive straight from the registry: nothing is kept, unpacked or run here.
   * @throws {HatobaError} as pull
   */
  download(
    reference: string,
    options: TransferOptions & { format: ArchiveFormat; platform?: string },
  ): AsyncIterable<Uint8Array>;
  /**
   * Sends an image to the registry its reference names: only the layers that are not there, those
   * that another repository of it has by mounting them.
   * @returns the digest of the manifest, as others can pull it
   */
  push(reference: string, options?: TransferOptions): Promise<{ digest: string }>;
  /**
   * Asks a registry whether it takes these credentials.
   * @returns an identity token where the registry gave one, to be kept instead of the password
   * @throws {HatobaError} unauthenticated | unavailable
   */
  login(
    server: string,
    auth: RegistryAuth,
    signal?: AbortSignal,
  ): Promise<{ identityToken: string }>;
  /** The local image a reference (or an id, or a prefix of one) names. */
  find(reference: string): Promise<Image | undefined>;
  list(): Promise<Image[]>;
  /** What the images are called, "web:1" and "web@sha256:…", those used last first. */
  names(most: number): Promise<string[]>;
  /** @throws {HatobaError} not-found */
  inspect(reference: string): Promise<ImageDetails>;
  /** Newest first. @throws {HatobaError} not-found */
  history(reference: string): Promise<ImageHistoryEntry[]>;
  /** @throws {HatobaError} not-found for the source; invalid-argument for the target */
  tag(source: string, target: string): Promise<void>;
  /**
   * Takes a tag away, and the image with it when it was the last; an id takes all of its tags.
   * Layers go when no image and no container has them.
   * @throws {HatobaError} not-found; failed-precondition while a container uses the image, or when
   *   an id has several tags, without `force`
   */
  remove(
    reference: string,
    options?: { force?: boolean },
  ): Promise<{ untagged: string[]; deleted: string[] }>;
  /**
   * Removes images without a tag that no container uses; with `all` those with a tag too, and what
   * interrupted pulls left.
   */
  prune(options: { all?: boolean; olderThanMs?: number }): Promise<Pruned>;
}
