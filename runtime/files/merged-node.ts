import * as fs from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import type { FileCalls } from '../../linux/file-calls.js';
import type { IdMap } from '../../linux/ports.js';
import type { DiffNode } from '../core/diff-plan.js';
import { fromDisk } from './owner-map.js';
import type { Owner } from './rooted-tree.js';

/** What tells of an opaque directory: what lower layers have in it is hidden. */
type XattrCalls = Pick<FileCalls, 'getXattr'>;
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants;
const OPAQUE = 'trusted.overlay.opaque';

export interface MergeOptions {
  readonly calls: XattrCalls;
  /** Whether layer 0 is what a container wrote on top, so that all in it has changed. */
  readonly hasUpper: boolean;
  /** Whose ids layer 0 has, where they are not those of the layers below. */
  readonly idMap: IdMap | undefined;
}

/**
 * A path of layers laid over each other as overlayfs does: whiteouts hide, directories merge unless
 * opaque. Reads folders of the engine's own; a container that runs may change the topmost meanwhile,
 * so links are never followed and what disappears is simply gone.
 */
export class MergedNode implements DiffNode {
  readonly isDirectory: boolean;
  readonly isUntouched: boolean;
  readonly #stat: fs.BigIntStats;
  /** Where the directory is in each layer that has a part of it, topmost first. */
  readonly #parts: readonly Part[];
  readonly #options: MergeOptions;

  private constructor(stat: fs.BigIntStats, parts: readonly Part[], options: MergeOptions) {
    this.#stat = stat;
    this.#parts = parts;
    this.#options = options;
    this.isDirectory = stat.isDirectory();
    this.isUntouched = options.hasUpper && parts[0]?.layer !== 0;
  }

  /** @param layers topmost first */
  static top(layers: readonly string[], options: MergeOptions): MergedNode {
    const parts = layers.map((path, layer) => ({ path: Buffer.from(path), layer }));
    const first = parts[0];
    if (first === undefined) throw new RangeError('no layers to merge');
    return new MergedNode(fs.lstatSync(first.path, { bigint: true }), parts, options);
  }

  get fingerprint(): string {
    const { mode, size, mtimeNs, rdev } = this.#stat;
    const { uid, gid } = this.#owner();
    if (this.isDirectory) return `${mode} ${uid} ${gid}`;
    // What is in the upper layer at all was written to: copied up, changed or made anew.
    if (this.#options.hasUpper) return 'in the upper layer';
    return `${mode} ${uid} ${gid} ${size} ${mtimeNs} ${rdev}`;
  }

  #owner(): Owner {
    const owner = { uid: Number(this.#stat.uid), gid: Number(this.#stat.gid) };
    return this.#parts[0]?.layer === 0 ? fromDisk(owner, this.#options.idMap) : owner;
  }

  names(): readonly string[] {
    return [...new Set(this.#parts.flatMap((part) => namesIn(part.path)))];
  }

  child(name: string): MergedNode | undefined {
    const parts: Part[] = [];
    let stat: fs.BigIntStats | undefined;
    for (const { path, layer } of this.#parts) {
      const inner = Buffer.concat([path, Buffer.from('/'), Buffer.from(name, 'latin1')]);
      const found = lookAt(inner);
      if (found === undefined) continue;
      if (isWhiteout(found)) break;
      if (stat !== undefined && !found.isDirectory()) break;
      stat ??= found;
      parts.push({ path: inner, layer });
      if (!found.isDirectory() || this.#isOpaque(inner)) break;
    }
    return stat === undefined ? undefined : new MergedNode(stat, parts, this.#options);
  }

  #isOpaque(path: Buffer): boolean {
    let fd: number;
    try {
      fd = fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
    try {
      return this.#options.calls.getXattr(fd, OPAQUE)?.[0] === 'y'.charCodeAt(0);
    } finally {
      fs.closeSync(fd);
    }
  }
}

interface Part {
  readonly path: Buffer;
  readonly layer: number;
}

function lookAt(path: Buffer): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(path, { bigint: true });
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function namesIn(path: Buffer): string[] {
  try {
    return fs.readdirSync(path, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function isWhiteout(stat: fs.BigIntStats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n;
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '');
}
