import * as fs from 'node:fs';
import type { FileCalls } from '../../linux/file-calls.js';
import type { TarEntry, TarKind } from '../core/tar-header.js';
import { encodeTarEntry, tarPadding, TAR_END } from '../core/tar-writer.js';
import { asTreeError, type Owner, type RootedTree, type TreeNode } from './rooted-tree.js';

const CHUNK_BYTES = 256 * 1024;
const { O_RDONLY, O_NONBLOCK } = fs.constants;
/** Those that belong to files and not to this machine's way of storing them. */
const KEPT_XATTRS = /^(security\.capability$|user\.|trusted\.(?!overlay\.)|system\.posix_acl_)/;
const NO_XATTRS: ReadonlyMap<string, Uint8Array> = new Map();

/** The calls a packer needs; without them extended attributes are left out. */
export type PackCalls = Pick<FileCalls, 'listXattrs' | 'getXattr'>;

export interface PackOptions {
  /**
   * What the first entry is called, a byte string; "." for the contents of a directory, and empty
   * for the same without an entry for the directory itself and "./" before the names.
   */
  readonly topName: string;
  readonly calls?: PackCalls;
  /** Owners on disk as the reader of the tar shall see them. */
  readonly mapOwner?: (owner: Owner) => Owner;
}

/** The tar of an object and all below it; synchronous file work. Sockets are left out. */
export function* packTree(
  tree: RootedTree,
  top: TreeNode,
  options: PackOptions,
): Generator<Uint8Array, void, void> {
  yield* new TreePacker(tree, options).pack(top, options.topName);
  yield TAR_END;
}

class TreePacker {
  readonly #tree: RootedTree;
  readonly #options: PackOptions;
  /** Device, inode → the name it went by first, for files with several names. */
  readonly #seen = new Map<string, string>();

  constructor(tree: RootedTree, options: PackOptions) {
    this.#tree = tree;
    this.#options = options;
  }

  *pack(node: TreeNode, name: string): Generator<Uint8Array, void, void> {
    const kind = kindOf(node.stat);
    if (kind === undefined) return;
    const linkName = kind === 'directory' ? undefined : this.#seenAs(node, name);
    if (linkName !== undefined) {
      yield encodeTarEntry(this.#entry(node, 'hardlink', { name, linkName }));
    } else if (kind === 'file') {
      yield* this.#packFile(node, name);
    } else if (kind === 'directory') {
      yield* this.#packDirectory(node, name);
    } else {
      yield encodeTarEntry(this.#entry(node, kind, { name, linkName: node.linkTarget }));
    }
  }

  *#packFile(node: TreeNode, name: string): Generator<Uint8Array, void, void> {
    // By its handle: what is opened for reading is the file that was looked at, not its name.
    const fd = attempt(node.path, () => fs.openSync(node.handle, O_RDONLY | O_NONBLOCK));
    try {
      const sizeBytes = Number(node.stat.size);
      yield encodeTarEntry(this.#entry(node, 'file', { name, sizeBytes }));
      yield* readExactly(fd, sizeBytes, node.path);
      yield tarPadding(sizeBytes);
    } finally {
      fs.closeSync(fd);
    }
  }

  *#packDirectory(node: TreeNode, name: string): Generator<Uint8Array, void, void> {
    if (name !== '') yield encodeTarEntry(this.#entry(node, 'directory', { name: `${name}/` }));
    for (const child of listNames(node)) {
      const found = attempt(node.path, () => this.#tree.child(node, child));
      if (found === undefined) continue; // removed since
      try {
        yield* this.pack(found, name === '' ? child : `${name}/${child}`);
      } finally {
        found[Symbol.dispose]();
      }
    }
  }

  #entry(
    node: TreeNode,
    kind: TarKind,
    own: { name: string; linkName?: string; sizeBytes?: number },
  ): TarEntry {
    const { stat } = node;
    const owner = { uid: Number(stat.uid), gid: Number(stat.gid) };
    return {
      linkName: '',
      sizeBytes: 0,
      ...own,
      kind,
      mode: Number(stat.mode) & 0o7777,
      ...(this.#options.mapOwner?.(owner) ?? owner),
      mtimeMs: Number(stat.mtimeNs) / 1e6,
      mtimeNs: stat.mtimeNs,
      ...deviceNumbers(stat.rdev),
      xattrs: kind === 'hardlink' ? NO_XATTRS : this.#xattrs(node),
    };
  }

  #seenAs(node: TreeNode, name: string): string | undefined {
    const { dev, ino, nlink } = node.stat;
    if (nlink < 2n) return undefined;
    const key = `${dev}:${ino}`;
    const first = this.#seen.get(key);
    if (first === undefined) this.#seen.set(key, name);
    return first;
  }

  #xattrs(node: TreeNode): ReadonlyMap<string, Uint8Array> {
    const { calls } = this.#options;
    if (calls === undefined) return NO_XATTRS;
    const names = calls.listXattrs(node.fd).filter((name) => KEPT_XATTRS.test(name));
    if (names.length === 0) return NO_XATTRS;
    return new Map(
      names.flatMap((name) => {
        const value = calls.getXattr(node.fd, name);
        return value === undefined ? [] : [[name, value] as const];
      }),
    );
  }
}

/** Puts small pieces together, so that each step of a stream carries much. */
export function* inChunks(
  pieces: Iterable<Uint8Array>,
  chunkBytes = CHUNK_BYTES,
): Generator<Uint8Array<ArrayBuffer>, void, void> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for (const piece of pieces) {
    held.push(piece);
    heldBytes += piece.length;
    if (heldBytes < chunkBytes) continue;
    yield join(held, heldBytes);
    held = [];
    heldBytes = 0;
  }
  if (heldBytes > 0) yield join(held, heldBytes);
}

/** A copy of its own, which may be given to another thread. */
function join(pieces: readonly Uint8Array[], bytes: number): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** Names in a directory, sorted by their bytes. */
export function listNames(directory: TreeNode): string[] {
  return attempt(directory.path, () => fs.readdirSync(directory.handle, { encoding: 'buffer' }))
    .map((name) => name.toString('latin1'))
    .sort();
}

/** A file that shrinks meanwhile is filled up with zeros, since its size has been told. */
function* readExactly(
  fd: number,
  sizeBytes: number,
  path: string,
): Generator<Uint8Array, void, void> {
  for (let left = sizeBytes; left > 0;) {
    const buffer = Buffer.allocUnsafeSlow(Math.min(left, CHUNK_BYTES));
    const length = attempt(path, () => fs.readSync(fd, buffer));
    const piece = length === 0 ? buffer.fill(0) : buffer.subarray(0, length);
    left -= piece.length;
    yield piece;
  }
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asTreeError(error, path);
  }
}

/** makedev(3) backwards. */
function deviceNumbers(rdev: bigint): { major: number; minor: number } {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

/** @returns undefined for a socket, which no tar can hold */
export function kindOf(stat: fs.BigIntStats): Exclude<TarKind, 'hardlink'> | undefined {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isFIFO()) return 'fifo';
  if (stat.isCharacterDevice()) return 'character-device';
  return stat.isBlockDevice() ? 'block-device' : undefined;
}
