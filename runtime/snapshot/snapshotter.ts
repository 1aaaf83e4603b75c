import type { IdMap } from '../../linux/ports.js';
import type { LayerId } from '../core/layer-chain.js';

/** The folders of one container's root file system. */
export interface Snapshot {
  /** Read-only layers, topmost first. */
  readonly lowerDirs: readonly string[];
  /** The container's own writable layer, in overlayfs's form; absent where its root is a copy. */
  readonly upperDir?: string;
  /** Where the whole is, once mounted. */
  readonly rootDir: string;
}

/**
 * Root file systems of containers: shared read-only layers under one writable layer each.
 *
 * A snapshot is *prepared* (folders on disk, chain remembered), *mounted* and *unmounted* any number
 * of times (what was written stays), and *removed*. Snapshots survive the process and a reboot;
 * mounts survive the process only.
 */
export interface Snapshotter {
  readonly name: 'overlay' | 'copy';
  /**
   * Makes the folders; all or nothing. Mounts nothing.
   * @param chain bottom first, as `ImageLookup.lookup` gives it; may be empty
   * @param options.idMap for a container with users of its own: what belongs to 0 in the layers
   *   belongs to `firstId` in the root
   * @throws {HatobaError} already-exists when the container has a snapshot;
   *   failed-precondition when a layer is not unpacked here
   */
  prepare(
    containerId: string,
    chain: readonly LayerId[],
    options?: { idMap?: IdMap },
  ): Promise<Snapshot>;
  /** Mounts it on its rootDir. @throws {HatobaError} not-found without prepare */
  mount(containerId: string): Promise<Snapshot>;
  /** Already unmounted, or unknown: success. */
  unmount(containerId: string): Promise<void>;
  /** Unmounts and deletes all that was written. Unknown: success. */
  remove(containerId: string): Promise<void>;
  /** Container ids that have a snapshot, sorted. */
  list(): Promise<string[]>;
}
