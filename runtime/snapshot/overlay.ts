import { chmod, mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Mounts } from '../../linux/ports.js';
import { removeTree } from '../content/remove-tree.js';
import { asArray, asObject, asString, parseJson } from '../core/json-fields.js';
import type { LayerId } from '../core/layer-chain.js';
import { layerDiffDir } from './layer-layout.js';
import type { Snapshot, Snapshotter } from './snapshotter.js';

export interface OverlaySnapshotterOptions {
  /** The engine's root, which also holds the layers. */
  readonly root: string;
  readonly mounts: Pick<Mounts, 'overlay' | 'unmount'>;
}

/**
 * Opens the snapshots below `root`, and deletes what an interrupted prepare or remove left.
 * On disk: `snapshots/<container id>/{upper,work,rootfs,snapshot.json}`; snapshot.json is
 * `{"chain": ["<64 hex>", …]}`, bottom first.
 */
export async function openOverlaySnapshotter(
  options: OverlaySnapshotterOptions,
): Promise<Snapshotter> {
  const dir = join(options.root, 'snapshots');
  await mkdir(dir, { recursive: true });
  await chmod(dir, 0o711); // the roots of containers with user namespaces are reached through it
  const lowerOfEmpty = join(dir, EMPTY_LAYER);
  await mkdir(lowerOfEmpty, { recursive: true });
  for (const name of await readdir(dir)) {
    if (name.startsWith(STAGED)) await removeTree(join(dir, name));
  }
  return new OverlaySnapshotter(options, dir);
}

/** Names that are no container ids begin with a dot. */
const STAGED = '.staged-';
const EMPTY_LAYER = '.empty';
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

class OverlaySnapshotter implements Snapshotter {
  readonly #root: string;
  readonly #mounts: OverlaySnapshotterOptions['mounts'];
  readonly #dir: string;
  #stagedCount = 0;

  constructor({ root, mounts }: OverlaySnapshotterOptions, dir: string) {
    this.#root = root;
    this.#mounts = mounts;
    this.#dir = dir;
  }

  async prepare(containerId: string, chain: readonly LayerId[]): Promise<Snapshot> {
    const target = this.#path(containerId);
    if (await exists(target)) throw alreadyThere(containerId);
    await this.#checkLayers(containerId, chain);
    const staged = this.#staged();
    try {
      await mkdir(staged);
      for (const name of ['upper', 'work', 'rootfs']) {
        await mkdir(join(staged, name));
        // exact, whatever the umask: the upper directory's mode is that of "/" in the container
        await chmod(join(staged, name), 0o755);
      }
      await chmod(staged, 0o711);
      // not flushed to disk: after a power cut the container is gone anyway
      await writeFile(join(staged, 'snapshot.json'), JSON.stringify({ chain }));
      await rename(staged, target);
    } catch (error) {
      await removeTree(staged);
      // another prepare of the same container was faster
      throw errnoOf(error) === 'ENOTEMPTY' ? alreadyThere(containerId) : error;
    }
    return this.#snapshot(containerId, chain);
  }

  async mount(containerId: string): Promise<Snapshot> {
    const snapshot = this.#snapshot(containerId, await this.#readChain(containerId));
    const { lowerDirs, upperDir, workDir, rootDir } = snapshot;
    await this.#mounts.overlay({ lowerDirs, upperDir, workDir, target: rootDir });
    return snapshot;
  }

  async unmount(containerId: string): Promise<void> {
    const rootDir = join(this.#path(containerId), 'rootfs');
    if (await exists(rootDir)) await this.#mounts.unmount(rootDir);
  }

  async remove(containerId: string): Promise<void> {
    await this.unmount(containerId);
    const staged = this.#staged();
    try {
      // one step for everybody else; a crash from here on leaves only what the next start deletes
      await rename(this.#path(containerId), staged);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    await removeTree(staged);
  }

  async list(): Promise<string[]> {
    return (await readdir(this.#dir)).filter((name) => !name.startsWith('.')).sort();
  }

  #snapshot(containerId: string, chain: readonly LayerId[]): Snapshot {
    const dir = this.#path(containerId);
    const layers = chain.toReversed().map((id) => layerDiffDir(this.#root, id));
    return {
      lowerDirs: layers.length > 0 ? layers : [join(this.#dir, EMPTY_LAYER)],
      upperDir: join(dir, 'upper'),
      workDir: join(dir, 'work'),
      rootDir: join(dir, 'rootfs'),
    };
  }

  async #checkLayers(containerId: string, chain: readonly LayerId[]): Promise<void> {
    const found = await Promise.all(chain.map((id) => exists(layerDiffDir(this.#root, id))));
    const missing = chain[found.indexOf(false)];
    if (missing === undefined) return;
    throw new HatobaError(
      'failed-precondition',
      `container ${containerId}: layer ${missing} is not unpacked on this machine; pull or load its image again`,
    );
  }

  async #readChain(containerId: string): Promise<LayerId[]> {
    const what = `snapshot of container ${containerId}`;
    let bytes: Buffer;
    try {
      bytes = await readFile(join(this.#path(containerId), 'snapshot.json'));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new HatobaError('not-found', `container ${containerId} has no snapshot`);
    }
    const chain = asArray(asObject(parseJson(bytes, what), what)['chain'], `${what}: chain`);
    return chain.map((id) => asString(id, `${what}: chain`) as LayerId);
  }

  #path(containerId: string): string {
    if (CONTAINER_ID.test(containerId)) return join(this.#dir, containerId);
    throw new HatobaError('invalid-argument', `"${containerId}" is not a container id`);
  }

  #staged(): string {
    return join(this.#dir, `${STAGED}${++this.#stagedCount}`);
  }
}

function alreadyThere(containerId: string): HatobaError {
  return new HatobaError('already-exists', `container ${containerId} has a snapshot already`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
