import * as fs from 'node:fs';
import { errnoOf } from '../../common/errors.js';

/** stat(2) counts in these, whatever the blocks of the disk are. */
const STAT_BLOCK_BYTES = 512;
/** Half of PATH_MAX: from there on a folder is walked by its descriptor. */
const MAX_PATH_BYTES = 2048;
const SLASH = Buffer.from('/');
const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;

/** Bytes of disk that folders and all below them take; see TreeMeter. */
export function measureTrees(paths: readonly string[]): number {
  const meter = new TreeMeter();
  return paths.reduce((sum, path) => sum + meter.bytesOf(Buffer.from(path)), 0);
}

interface OpenFolder {
  readonly path: Buffer;
  /** Those not looked at yet. */
  readonly names: Buffer[];
  /** Of folders whose own path would be too long. */
  readonly fd: number | undefined;
}

/**
 * Bytes on disk as `du -x` counts: blocks, not lengths; what has several links once, where it is met
 * first; nothing of another file system. Links are not followed; what disappears meanwhile counts as
 * nothing. Copes with any depth, which any container can make by `mkdir` and `cd`. Synchronous file
 * work: for worker threads.
 */
export class TreeMeter {
  readonly #leftOut: ReadonlySet<string>;
  readonly #linked = new Set<string>();

  /** @param leftOut paths that count as nothing, with all below: byte strings */
  constructor(leftOut: ReadonlySet<string> = new Set()) {
    this.#leftOut = leftOut;
  }

  /** Of a file, or of a folder with all below. @param device the only one that counts; default: its own */
  bytesOf(top: Buffer, device?: number): number {
    const folders: OpenFolder[] = [];
    let bytes = 0;
    const count = (path: Buffer): void => {
      const stat = this.#look(path, (device ??= deviceOf(path)));
      if (stat === undefined) return;
      bytes += stat.blocks * STAT_BLOCK_BYTES;
      if (stat.isDirectory()) folders.push(openFolder(path));
    };
    try {
      count(top);
      for (let folder = folders.at(-1); folder !== undefined; folder = folders.at(-1)) {
        const name = folder.names.pop();
        if (name !== undefined) count(joinBytes(folder.path, name));
        else closeFolder(folders.pop());
      }
    } finally {
      for (const folder of folders) closeFolder(folder);
    }
    return bytes;
  }

  /** @returns undefined for what does not count */
  #look(path: Buffer, device: number | undefined): fs.Stats | undefined {
    if (this.#leftOut.has(path.toString('latin1'))) return undefined;
    const stat = lookAt(path);
    if (stat?.dev !== device) return undefined;
    if (stat === undefined || stat.nlink < 2 || stat.isDirectory()) return stat;
    const key = `${stat.dev}:${stat.ino}`;
    if (this.#linked.has(key)) return undefined;
    this.#linked.add(key);
    return stat;
  }
}

/** Names in a folder; none where it is gone. They are bytes, not always UTF-8. */
export function namesIn(folder: Buffer): Buffer[] {
  return gone(() => fs.readdirSync(folder, { encoding: 'buffer' })) ?? [];
}

export function joinBytes(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, SLASH, name]);
}

function openFolder(path: Buffer): OpenFolder {
  if (path.length <= MAX_PATH_BYTES) return { path, names: namesIn(path), fd: undefined };
  const fd = gone(() => fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (fd === undefined) return { path, names: [], fd };
  const short = Buffer.from(`/proc/self/fd/${fd}`);
  return { path: short, names: namesIn(short), fd };
}

function closeFolder(folder: OpenFolder | undefined): void {
  if (folder?.fd !== undefined) fs.closeSync(folder.fd);
}

function deviceOf(path: Buffer): number | undefined {
  return lookAt(path)?.dev;
}

function lookAt(path: Buffer): fs.Stats | undefined {
  return gone(() => fs.lstatSync(path));
}

function gone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
