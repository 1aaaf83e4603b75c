import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import type { IdMap, Mounts } from '../../linux/ports.js';
import { removeTree } from '../content/remove-tree.js';
import type { LayerId } from '../core/layer-chain.js';
import { layerDiffDir, readImplied } from './layer-layout.js';
import { SnapshotFolders } from './snapshot-folders.js';
import { runSnapshotJob } from './snapshot-thread.js';
import type { Snapshot, Snapshotter } from './snapshotter.js';

export interface OverlaySnapshotterOptions {
  /** The engine's root, which also holds the layers. */
  readonly root: string;
  readonly mounts: Pick<Mounts, 'overlay' | 'unmount'>;
}

/**
 * Opens the snapshots below `root` (see SnapshotFolders), mounted by overlayfs.
 * On disk: `snapshots/<container id>/{upper,work,rootfs}`, and for chains of layers that need it
 * `snapshots/.implied-<hex of the chain>`: directories that lie on top of the layers, see
 * makeImpliedDirectories.
 */
export async function openOverlaySnapshotter(
  options: OverlaySnapshotterOptions,
): Promise<Snapshotter> {
  const folders = await SnapshotFolders.open(options.root, 'overlay');
  await mkdir(join(folders.dir, EMPTY_LAYER), { recursive: true });
  return await OverlaySnapshotter.open(options, folders);
}

const EMPTY_LAYER = '.empty';
const IMPLIED = '.implied-';

class OverlaySnapshotter implements Snapshotter {
  readonly name = 'overlay';
  readonly #root: string;
  readonly #mounts: OverlaySnapshotterOptions['mounts'];
  readonly #folders: SnapshotFolders;
  /** Folders of implied directories by chain, as far as they were asked for; undefined: none needed. */
  readonly #implied = new Map<string, Promise<string | undefined>>();

  private constructor({ root, mounts }: OverlaySnapshotterOptions, folders: SnapshotFolders) {
    this.#root = root;
    this.#mounts = mounts;
    this.#folders = folders;
  }

  static async open(
    options: OverlaySnapshotterOptions,
    folders: SnapshotFolders,
  ): Promise<OverlaySnapshotter> {
    const snapshotter = new OverlaySnapshotter(options, folders);
    await snapshotter.#removeUnusedImplied();
    return snapshotter;
  }

  async prepare(
    containerId: string,
    chain: readonly LayerId[],
    { idMap }: { idMap?: IdMap } = {},
  ): Promise<Snapshot> {
    const record = { chain, ...(idMap !== undefined && { idMap }) };
    await this.#folders.make(containerId, record, async (dir) => {
      for (const name of ['upper', 'work', 'rootfs']) {
        await mkdir(join(dir, name));
        // exact, whatever the umask: the upper directory's mode is that of "/" in the container
        await chmod(join(dir, name), 0o755);
      }
      if (idMap !== undefined) {
        await chown(join(dir, 'upper'), idMap.uids.firstId, idMap.gids.firstId);
      }
      await this.#impliedOf(chain);
    });
    return await this.#snapshot(containerId, chain);
  }

  async mount(containerId: string): Promise<Snapshot> {
    const { chain, idMap } = await this.#folders.read(containerId);
    const snapshot = await this.#snapshot(containerId, chain);
    const { lowerDirs, upperDir, rootDir } = snapshot;
    const workDir = join(this.#folders.path(containerId), 'work');
    const map = idMap === undefined ? {} : { idMap };
    await this.#mounts.overlay({ lowerDirs, upperDir, workDir, target: rootDir, ...map });
    return snapshot;
  }

  async unmount(containerId: string): Promise<void> {
    if (!(await this.#folders.has(containerId))) return;
    await this.#mounts.unmount(join(this.#folders.path(containerId), 'rootfs'));
  }

  async remove(containerId: string): Promise<void> {
    await this.unmount(containerId);
    await this.#folders.remove(containerId);
  }

  list(): Promise<string[]> {
    return this.#folders.list();
  }

  async #snapshot(
    containerId: string,
    chain: readonly LayerId[],
  ): Promise<Snapshot & { upperDir: string }> {
    const dir = this.#folders.path(containerId);
    const layers = chain.toReversed().map((id) => layerDiffDir(this.#root, id));
    const implied = await this.#impliedOf(chain);
    const lowerDirs = implied === undefined ? layers : [implied, ...layers];
    return {
      lowerDirs: lowerDirs.length > 0 ? lowerDirs : [join(this.#folders.dir, EMPTY_LAYER)],
      upperDir: join(dir, 'upper'),
      rootDir: join(dir, 'rootfs'),
    };
  }

  /** The folder to lay on top of a chain; made at the first use. */
  #impliedOf(chain: readonly LayerId[]): Promise<string | undefined> {
    const key = keyOf(chain);
    let folder = this.#implied.get(key);
    if (folder === undefined) {
      folder = this.#makeImplied(chain, join(this.#folders.dir, IMPLIED + key));
      this.#implied.set(key, folder);
      folder.catch(() => this.#implied.delete(key)); // its caller is told; the next one tries again
    }
    return folder;
  }

  async #makeImplied(chain: readonly LayerId[], target: string): Promise<string | undefined> {
    const implied = await Promise.all(chain.map((id) => readImplied(this.#root, id)));
    if (implied.slice(1).every((paths) => paths.length === 0)) return undefined;
    const layers = chain.map((id, i) => {
      return { diffDir: layerDiffDir(this.#root, id), implied: implied[i] ?? [] };
    });
    const staged = this.#folders.staged();
    try {
      await mkdir(staged);
      await chmod(staged, 0o755);
      const count = await runSnapshotJob({ type: 'implied', layers, target: staged });
      if (count === 0) return undefined;
      await rename(staged, target);
    } catch (error) {
      // it is there already: what an earlier engine made of the same layers is the same
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error;
    } finally {
      await removeTree(staged);
    }
    return target;
  }

  async #removeUnusedImplied(): Promise<void> {
    const used = new Set<string>();
    const names = await readdir(this.#folders.dir);
    const implied = names.filter((name) => name.startsWith(IMPLIED));
    if (implied.length === 0) return;
    for (const id of await this.list()) {
      const chain = await this.#folders.read(id).then(
        (record) => record.chain,
        () => undefined, // mounting it says what is wrong
      );
      if (chain !== undefined) used.add(IMPLIED + keyOf(chain));
    }
    for (const name of implied) {
      if (!used.has(name)) await removeTree(join(this.#folders.dir, name));
    }
  }
}

function keyOf(chain: readonly LayerId[]): string {
  return createHash('sha256').update(chain.join('\n')).digest('hex');
}
