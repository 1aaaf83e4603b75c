import * as fs from 'node:fs';
import { errnoOf } from '../../common/errors.js';

export interface DiskQuestion {
  /** Absolute. */
  readonly root: string;
  /** Folders below it whose members are told apart: "layers", "blobs/sha256". */
  readonly groups: readonly string[];
  /** Mount points below the root: what is mounted lies elsewhere. */
  readonly mountPoints: readonly string[];
  /** Members whose bytes are known and never change: "layers/<id>" → bytes. */
  readonly known: ReadonlyMap<string, number>;
}

export interface DiskAnswer {
  /** Per group: the folder's own bytes, and those of each member. */
  readonly groups: ReadonlyMap<string, GroupBytes>;
  /** What lies in no group, the root's own bytes among it. */
  readonly otherBytes: number;
}

export interface GroupBytes {
  readonly ownBytes: number;
  readonly members: ReadonlyMap<string, number>;
}

const BLOCK_BYTES = 512;
/** Half of PATH_MAX: from there on a folder is walked by its descriptor. */
const MAX_PATH_BYTES = 2048;
const SLASH = Buffer.from('/');
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;

/**
 * Bytes on disk below a folder, as `du -x` counts: blocks, not lengths; what has several links once,
 * where it is met first; nothing that is mounted. What vanishes meanwhile is not counted. All calls
 * are synchronous: for worker threads.
 */
export function walkDisk(question: DiskQuestion): DiskAnswer {
  const root = Buffer.from(question.root);
  const walker = new Walker(fs.statSync(root).dev, question.mountPoints);
  const groups = new Map<string, GroupBytes>();
  const folders: Buffer[] = [];
  for (const group of question.groups) {
    const folder = join(root, Buffer.from(group));
    folders.push(folder);
    const members = new Map<string, number>();
    for (const name of namesIn(folder)) {
      const text = name.toString('latin1');
      const known = question.known.get(`${group}/${text}`);
      members.set(text, known ?? walker.bytesOf(join(folder, name)));
    }
    groups.set(group, { ownBytes: walker.ownBytes(folder), members });
  }
  for (const folder of folders) walker.leaveOut(folder);
  return { groups, otherBytes: walker.bytesOf(root) };
}

class Walker {
  readonly #device: number;
  readonly #leftOut: Set<string>;
  readonly #linked = new Set<string>();

  constructor(device: number, mountPoints: readonly string[]) {
    this.#device = device;
    this.#leftOut = new Set(mountPoints.map((path) => Buffer.from(path).toString('latin1')));
  }

  leaveOut(path: Buffer): void {
    this.#leftOut.add(path.toString('latin1'));
  }

  /** Of a file or folder alone. */
  ownBytes(path: Buffer): number {
    return (fs.lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * BLOCK_BYTES;
  }

  /** Of a file, or of a folder with all below. */
  bytesOf(path: Buffer): number {
    if (this.#leftOut.has(path.toString('latin1'))) return 0;
    const stat = fs.lstatSync(path, { throwIfNoEntry: false });
    if (stat?.dev !== this.#device) return 0;
    const own = stat.blocks * BLOCK_BYTES;
    if (stat.isDirectory()) return own + this.#bytesBelow(path);
    return stat.nlink > 1 && !this.#isFirst(stat.ino) ? 0 : own;
  }

  #bytesBelow(folder: Buffer): number {
    let bytes = 0;
    if (folder.length <= MAX_PATH_BYTES) {
      for (const name of namesIn(folder)) bytes += this.bytesOf(join(folder, name));
      return bytes;
    }
    const fd = fs.openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const short = Buffer.from(`/proc/self/fd/${fd}`);
      for (const name of namesIn(short)) bytes += this.bytesOf(join(short, name));
    } finally {
      fs.closeSync(fd);
    }
    return bytes;
  }

  #isFirst(inode: number): boolean {
    const key = String(inode);
    if (this.#linked.has(key)) return false;
    this.#linked.add(key);
    return true;
  }
}

/** Names are bytes, not always UTF-8. */
function namesIn(folder: Buffer): Buffer[] {
  try {
    return fs.readdirSync(folder, { encoding: 'buffer' });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return [];
    throw error;
  }
}

function join(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, SLASH, name]);
}
