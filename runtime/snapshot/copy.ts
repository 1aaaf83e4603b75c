import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Files, IdMap } from '../../linux/ports.js';
import type { LayerId } from '../core/layer-chain.js';
import { layerDiffDir, readImplied } from './layer-layout.js';
import { SnapshotFolders } from './snapshot-folders.js';
import { runSnapshotJob } from './snapshot-thread.js';
import type { Snapshot, Snapshotter } from './snapshotter.js';

export interface CopySnapshotterOptions {
  /** The engine's root, which also holds the layers. */
  readonly root: string;
  readonly files: Pick<Files, 'syncFilesystem'>;
}

/**
 * Opens the snapshots below `root` (see SnapshotFolders) as plain copies of the layers, for where
 * overlayfs cannot be had: they cost the time and the space of a copy, but where the file system
 * shares blocks.
 * On disk: `snapshots/<container id>/rootfs`.
 */
export async function openCopySnapshotter(options: CopySnapshotterOptions): Promise<Snapshotter> {
  return new CopySnapshotter(options, await SnapshotFolders.open(options.root, 'copy'));
}

class CopySnapshotter implements Snapshotter {
  readonly name = 'copy';
  readonly #options: CopySnapshotterOptions;
  readonly #folders: SnapshotFolders;

  constructor(options: CopySnapshotterOptions, folders: SnapshotFolders) {
    this.#options = options;
    this.#folders = folders;
  }

  async prepare(
    containerId: string,
    chain: readonly LayerId[],
    { idMap }: { idMap?: IdMap } = {},
  ): Promise<Snapshot> {
    const { root, files } = this.#options;
    const record = { chain, ...(idMap !== undefined && { idMap }) };
    await this.#folders.make(containerId, record, async (dir) => {
      const target = join(dir, 'rootfs');
      await mkdir(target);
      const layers = await Promise.all(
        chain.map(async (id) => {
          return { diffDir: layerDiffDir(root, id), implied: await readImplied(root, id) };
        }),
      );
      await runSnapshotJob({ type: 'copy', layers, target, idMap });
      await files.syncFilesystem(target); // or a power cut could leave files that are empty
    });
    return this.#snapshot(containerId, chain);
  }

  /** The root is where it is; nothing is mounted. */
  async mount(containerId: string): Promise<Snapshot> {
    const { chain } = await this.#folders.read(containerId);
    return this.#snapshot(containerId, chain);
  }

  async unmount(): Promise<void> {
    // nothing is mounted
  }

  remove(containerId: string): Promise<void> {
    return this.#folders.remove(containerId);
  }

  list(): Promise<string[]> {
    return this.#folders.list();
  }

  #snapshot(containerId: string, chain: readonly LayerId[]): Snapshot {
    return {
      lowerDirs: chain.toReversed().map((id) => layerDiffDir(this.#options.root, id)),
      rootDir: join(this.#folders.path(containerId), 'rootfs'),
    };
  }
}
