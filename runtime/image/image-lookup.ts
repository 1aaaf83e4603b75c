import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { ImageConfig } from '../core/image-config.js';
import type { LayerId } from '../core/layer-chain.js';

/** An image all of whose layers are unpacked on this machine. */
export interface LocalImage {
  readonly image: Image;
  readonly config: ImageConfig;
  /** Bottom first, each layer once; empty for an image without files. */
  readonly chain: readonly LayerId[];
}

/** What containers need of the image store. */
export interface ImageLookup {
  /**
   * The image a reference, an id or a unique prefix of an id names, with what a container is made
   * from. No network is used.
   * @throws {HatobaError} invalid-argument when a prefix names several images
   */
  lookup(reference: string): Promise<LocalImage | undefined>;

  /**
   * Runs the making of a container: the image it is made from, if it is here, cannot be removed
   * until the container is among those that are asked whether they use it.
   * @param container its name
   * @throws what `make` throws
   */
  keepDuring<T>(reference: string, container: string, make: () => Promise<T>): Promise<T>;
}
