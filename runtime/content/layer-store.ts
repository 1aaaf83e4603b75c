import { chmod, mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.js';
import { HatobaError, describeError, errnoOf, kindOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Files } from '../../linux/ports.js';
import { isDigest, type Digest } from '../core/digest.js';
import { asCount, asObject, optionalString, parseJson } from '../core/json-fields.js';
import { layerIdOf, type LayerId } from '../core/layer-chain.js';
import { IMPLIED_FILE, formatImplied, layerDir, layersDir } from '../snapshot/layer-layout.js';
import { MAX_BLOB_BYTES, type ContentStore } from './content-store.js';
import { syncDirectory, writeDurably } from './durable-file.js';
import { JoinedSync } from './joined-sync.js';
import { removeTree } from './remove-tree.js';
import { SharedWork } from './shared-work.js';
import type { UnpackLimits } from './unpack-layer.js';
import type { Unpacker } from './unpacker.js';

export interface LayerStoreModules {
  readonly content: ContentStore;
  readonly unpacker: Unpacker;
  readonly files: Pick<Files, 'syncFilesystem'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** More files than the largest distributions have, few enough to be held in memory. */
const LIMITS: UnpackLimits = {
  maxEntries: 2_000_000,
  maxBytes: MAX_BLOB_BYTES,
  maxImpliedBytes: 16 * 1024 * 1024,
};
const MARKER = 'layer.json';

/** What is known of a layer that is here. */
export interface UnpackedLayer {
  readonly diffId: Digest;
  /** What it was unpacked from, which is kept as long as the layer; unknown of layers of old. */
  readonly blob: Digest | undefined;
  /** Length of its uncompressed tar. */
  readonly sizeBytes: number;
  readonly unpackedAtMs: number;
}

/**
 * Unpacked layers (see layer-layout.ts), each once for all images.
 * 1. A layer is there exactly when its folder is: it is unpacked in staging, verified against its
 *    diff ID, written to disk, marked, and renamed. A power cut leaves no half layer.
 * 2. layer.json is `{"diffId": "sha256:…", "blob": "sha256:…", "sizeBytes": 123, "entries": 45,
 *    "unpackedAtMs": 6}`.
 * 3. Whoever unpacks a layer or needs one holds a lease on it (see leases.ts): what is detached is
 *    in nobody's way.
 */
export class LayerStore {
  readonly #root: string;
  readonly #modules: LayerStoreModules;
  readonly #sync: JoinedSync;
  readonly #layers = new Map<LayerId, UnpackedLayer>();
  readonly #work = new SharedWork<void, number>();

  private constructor(root: string, modules: LayerStoreModules) {
    this.#root = root;
    this.#modules = modules;
    this.#sync = new JoinedSync(() => modules.files.syncFilesystem(layersDir(root)));
  }

  static async open(root: string, modules: LayerStoreModules): Promise<LayerStore> {
    const store = new LayerStore(root, modules);
    await mkdir(layersDir(root), { recursive: true });
    await chmod(layersDir(root), 0o711);
    for (const name of await readdir(layersDir(root))) await store.#register(name);
    return store;
  }

  has(diffId: Digest): boolean {
    return this.#layers.has(layerIdOf(diffId));
  }

  get(diffId: Digest): UnpackedLayer | undefined {
    return this.#layers.get(layerIdOf(diffId));
  }

  list(): UnpackedLayer[] {
    return [...this.#layers.values()];
  }

  /** Length of the layer's uncompressed tar; 0 for a layer that is not here. */
  sizeBytes(diffId: Digest): number {
    return this.get(diffId)?.sizeBytes ?? 0;
  }

  /**
   * Takes a layer out of the store, in one step.
   * @returns a function that deletes its files, which may take long; after a crash the next start
   *   deletes them
   */
  async detach(diffId: Digest): Promise<() => Promise<void>> {
    const id = layerIdOf(diffId);
    if (!this.#layers.delete(id)) return () => Promise.resolve();
    const staged = this.#modules.content.stagingPath();
    await rename(layerDir(this.#root, id), staged);
    await syncDirectory(layersDir(this.#root));
    return () => removeTree(staged);
  }

  /**
   * Unpacks a blob of the content store as the layer `diffId`; already there: at once. Calls for one
   * layer share the work.
   * @param options.onProgress told of bytes of the blob read
   * @throws {HatobaError} invalid-argument when the blob is malformed or another layer
   */
  async ensure(
    diffId: Digest,
    blob: Digest,
    options: { signal?: AbortSignal; onProgress?: (blobBytes: number) => void } = {},
  ): Promise<void> {
    if (this.has(diffId)) return;
    await this.#work.run(
      diffId,
      (signal, onProgress) => this.#unpack(diffId, blob, { signal, onProgress }),
      options,
    );
  }

  async #unpack(
    diffId: Digest,
    blob: Digest,
    options: { signal: AbortSignal; onProgress: (blobBytes: number) => void },
  ): Promise<void> {
    const { content, unpacker, clock, logger } = this.#modules;
    const staged = content.stagingPath();
    const targetDir = join(staged, 'diff');
    try {
      await mkdir(targetDir, { recursive: true });
      await chmod(staged, 0o711);
      await chmod(targetDir, 0o755);
      const job = { blobPath: content.pathOf(blob), targetDir, limits: LIMITS };
      const result = await unpacker.unpack(job, options);
      if (result.diffId !== diffId) {
        const wanted = `the image's configuration says ${diffId}`;
        throw new HatobaError('invalid-argument', `it unpacks to ${result.diffId}; ${wanted}`);
      }
      const { sizeBytes, entries, skippedXattrs, impliedDirectories } = result;
      const layer = { diffId, blob, sizeBytes, unpackedAtMs: clock.nowMs() };
      options.signal.throwIfAborted(); // a busy disk may take long to sync
      await this.#sync.run();
      if (impliedDirectories.length > 0) {
        await writeDurably(join(staged, IMPLIED_FILE), formatImplied(impliedDirectories));
      }
      await writeDurably(join(staged, MARKER), JSON.stringify({ ...layer, entries }));
      await this.#publish(staged, layerIdOf(diffId));
      this.#layers.set(layerIdOf(diffId), layer);
      if (skippedXattrs > 0) {
        logger.warn('Left out extended attributes', { diffId, count: skippedXattrs });
      }
    } catch (error) {
      const message = `layer ${blob}: ${describeError(error)}`;
      throw new HatobaError(kindOf(error), message, { cause: error });
    } finally {
      await rm(staged, { recursive: true, force: true });
    }
  }

  async #publish(staged: string, id: LayerId): Promise<void> {
    await syncDirectory(staged);
    try {
      await rename(staged, layerDir(this.#root, id));
    } catch (error) {
      // work that was abandoned and begun anew may end twice: the layers are the same
      if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error;
    }
    await syncDirectory(layersDir(this.#root));
  }

  async #register(name: string): Promise<void> {
    const diffId = `sha256:${name}`;
    if (!isDigest(diffId)) return;
    const dir = layerDir(this.#root, layerIdOf(diffId));
    try {
      const marker = parseMarker(await readFile(join(dir, MARKER)));
      this.#layers.set(layerIdOf(diffId), { diffId, ...marker });
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && !(error instanceof HatobaError)) throw error;
      // a power cut may have kept the folder and lost the marker: the layer is unpacked again
      this.#modules.logger.warn('Deleted a damaged layer', { diffId }, error);
      await rm(dir, { recursive: true, force: true });
    }
  }
}

function parseMarker(bytes: Uint8Array): Omit<UnpackedLayer, 'diffId'> {
  const marker = asObject(parseJson(bytes, MARKER), MARKER);
  const blob = optionalString(marker['blob'], 'blob');
  return {
    blob: isDigest(blob) ? blob : undefined,
    sizeBytes: asCount(marker['sizeBytes'], 'sizeBytes'),
    unpackedAtMs: asCount(marker['unpackedAtMs'], 'unpackedAtMs'),
  };
}
