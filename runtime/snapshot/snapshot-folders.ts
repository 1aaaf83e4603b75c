import { chmod, mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { IdMap, IdRange } from '../../linux/ports.js';
import { removeTree } from '../content/remove-tree.js';
import { asArray, asCount, asObject, asString, parseJson } from '../core/json-fields.js';
import type { LayerId } from '../core/layer-chain.js';
import { layerDiffDir } from './layer-layout.js';
import type { Snapshotter } from './snapshotter.js';

/** What snapshot.json says. */
export interface SnapshotRecord {
  /** Bottom first. */
  readonly chain: readonly LayerId[];
  /** Which snapshotter made it; none is that of overlayfs. */
  readonly driver: Snapshotter['name'];
  readonly idMap?: IdMap;
}

/** Names that are no container ids begin with a dot. */
const STAGED = '.staged-';
const CONTAINER_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const RECORD_FILE = 'snapshot.json';

/**
 * The folder `snapshots/` below an engine's root, with a folder for each container that appears and
 * goes in one step. In each, beside what its snapshotter keeps, snapshot.json:
 * `{"chain": ["<64 hex>", …], "driver": "overlay"}`, and for users of its own
 * `"idMap": {"uids": {"firstId": 100000, "count": 65536}, "gids": …}`.
 */
export class SnapshotFolders {
  readonly dir: string;
  readonly #root: string;
  readonly #driver: Snapshotter['name'];
  #stagedCount = 0;

  private constructor(root: string, driver: Snapshotter['name']) {
    this.#root = root;
    this.#driver = driver;
    this.dir = join(root, 'snapshots');
  }

  /** Opens it, and deletes what an interrupted prepare or remove left. */
  static async open(root: string, driver: Snapshotter['name']): Promise<SnapshotFolders> {
    const folders = new SnapshotFolders(root, driver);
    await mkdir(folders.dir, { recursive: true });
    await chmod(folders.dir, 0o711); // the roots of containers with users of their own lie below
    for (const name of await readdir(folders.dir)) {
      if (name.startsWith(STAGED)) await removeTree(join(folders.dir, name));
    }
    return folders;
  }

  /** @throws {HatobaError} invalid-argument for what is no container id */
  path(containerId: string): string {
    if (CONTAINER_ID.test(containerId)) return join(this.dir, containerId);
    throw new HatobaError('invalid-argument', `"${containerId}" is not a container id`);
  }

  /** A path that nobody else uses; the next start deletes what is there. */
  staged(): string {
    return join(this.dir, `${STAGED}${++this.#stagedCount}`);
  }

  async has(containerId: string): Promise<boolean> {
    return await exists(this.path(containerId));
  }

  /**
   * Makes the folder of a container.
   * @param fill makes what it holds, but for snapshot.json
   * @throws {HatobaError} see Snapshotter.prepare
   */
  async make(
    containerId: string,
    record: Omit<SnapshotRecord, 'driver'>,
    fill: (dir: string) => Promise<void>,
  ): Promise<void> {
    const target = this.path(containerId);
    if (await exists(target)) throw alreadyThere(containerId);
    await this.#checkLayers(containerId, record.chain);
    const staged = this.staged();
    try {
      await mkdir(staged);
      await chmod(staged, 0o711);
      await fill(staged);
      // not flushed to disk: after a power cut the container is gone anyway
      const text = JSON.stringify({ ...record, driver: this.#driver });
      await writeFile(join(staged, RECORD_FILE), text);
      await rename(staged, target);
    } catch (error) {
      await removeTree(staged);
      // another prepare of the same container was faster
      throw errnoOf(error) === 'ENOTEMPTY' ? alreadyThere(containerId) : error;
    }
  }

  /** @throws {HatobaError} not-found; failed-precondition for one of another snapshotter */
  async read(containerId: string): Promise<SnapshotRecord> {
    let bytes: Buffer;
    try {
      bytes = await readFile(join(this.path(containerId), RECORD_FILE));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new HatobaError('not-found', `container ${containerId} has no snapshot`);
    }
    const record = parseRecord(bytes, `snapshot of container ${containerId}`);
    if (record.driver === this.#driver) return record;
    throw new HatobaError(
      'failed-precondition',
      `the root of container ${containerId} was made by the snapshotter "${record.driver}", and the ` +
        `engine runs with "${this.#driver}": open it as before, or make the container again`,
    );
  }

  /** Unknown: success. */
  async remove(containerId: string): Promise<void> {
    const staged = this.staged();
    try {
      // one step for everybody else; a crash from here on leaves only what the next start deletes
      await rename(this.path(containerId), staged);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    await removeTree(staged);
  }

  async list(): Promise<string[]> {
    return (await readdir(this.dir)).filter((name) => !name.startsWith('.')).sort();
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
}

function parseRecord(bytes: Uint8Array, what: string): SnapshotRecord {
  const fields = asObject(parseJson(bytes, what), what);
  const chain = asArray(fields['chain'], `${what}: chain`);
  const { idMap } = fields;
  return {
    chain: chain.map((id) => asString(id, `${what}: chain`) as LayerId),
    driver: fields['driver'] === 'copy' ? 'copy' : 'overlay',
    ...(idMap !== undefined && { idMap: parseIdMap(idMap, `${what}: idMap`) }),
  };
}

function parseIdMap(value: unknown, what: string): IdMap {
  const range = (key: string): IdRange => {
    const fields = asObject(asObject(value, what)[key], `${what}.${key}`);
    return {
      firstId: asCount(fields['firstId'], `${what}.${key}.firstId`),
      count: asCount(fields['count'], `${what}.${key}.count`),
    };
  };
  return { uids: range('uids'), gids: range('gids') };
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
