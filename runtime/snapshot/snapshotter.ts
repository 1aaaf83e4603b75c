import type { LayerId } from '../core/layer-chain.js';

/** The folders of one container's root file system. */
export interface Snapshot {
  /** Read-only layers, topmost first; never empty. */
  readonly lowerDirs: readonly string[];
  /** The container's own writable layer. */
  readonly upperDir: string;
  /** overlayfs needs it beside the upper directory. */
  readonly workDir: string;
  /** Where the whole is mounted. */
  readonly rootDir: string;
}

/**
 * Root file systems of containers: shared read-only layers under one writable layer each.
 *
 * A snapshot is *prepared* (folders on disk, chain remembered), *mounted* and *unmounted* any number
 * of times (its writable layer stays), and *removed*. Snapshots survive the process and a reboot;
 * mounts survive the process only.
 */
export interface Snapshotter {
  /**
   * Makes the folders; all or nothing. Mounts nothing.
   * @param chain bottom first, as `ImageLookup.lookup` gives it; may be empty
   * @throws {HatobaError} already-exists when the container has a snapshot;
   *   failed-precondition when a layer is not unpacked here
   */
  prepare(containerId: string, chain: readonly LayerId[]): Promise<Snapshot>;
  /** Mounts it on its rootDir. @throws {HatobaError} not-found without prepare */
  mount(containerId: string): Promise<Snapshot>;
  /** Already unmounted, or unknown: success. */
  unmount(containerId: string): Promise<void>;
  /** Unmounts and deletes the writable layer. Unknown: success. */
  remove(containerId: string): Promise<void>;
  /** Container ids that have a snapshot, sorted. */
  list(): Promise<string[]>;
}
