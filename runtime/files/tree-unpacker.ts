import * as fs from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { FileCalls } from '../../linux/file-calls.js';
import { byteText, type TarEntry } from '../core/tar-header.js';
import { TarReader, type TarEvent } from '../core/tar-reader.js';
import {
  asTreeError,
  refuseReadOnly,
  treeError,
  type Owner,
  type RootedTree,
  type TreeNode,
} from './rooted-tree.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const TYPE_BITS = { 'character-device': 0o020000, 'block-device': 0o060000, fifo: 0o010000 };
/** Blocks of zeros of at least this become holes. */
const HOLE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(HOLE_BYTES);
/** Somebody who keeps putting things under a name we want wins after so many tries. */
const MAX_TRIES = 100;

/** The calls an unpacker needs. */
export type UnpackCalls = Pick<FileCalls, 'setXattr' | 'makeNode'>;

export interface TreeUnpackOptions {
  readonly calls: UnpackCalls;
  /** Whose directories become that no entry speaks of; undefined: whoever unpacks. */
  readonly rootOwner?: Owner;
  /** Whose the files become; undefined: whoever unpacks. */
  readonly ownerOf: (entry: TarEntry) => Owner | undefined;
  /** The first part of every name is put in the place of another; both byte strings. */
  readonly rename?: { readonly from: string; readonly to: string };
  /** Links on the way to an entry are followed inside the tree (true), or an error. */
  readonly followLinks: boolean;
}

interface OpenFile {
  readonly fd: number;
  readonly entry: TarEntry;
  readonly path: string;
  writtenBytes: number;
}

/**
 * Unpacks a tar below a directory of a tree, as `docker cp` does: directories are merged, a file is
 * put in the place of a file, and neither in the place of the other.
 * 1. Nothing outside the tree is touched: an entry's directory is reached by RootedTree, and the
 *    entry itself made under a name that must be free, never by following what is there.
 * 2. Attributes are set on the very object that was made, whatever its name leads to by then.
 * 3. Synchronous file work; a failure leaves what was unpacked so far.
 */
export class TreeUnpacker implements Disposable {
  readonly #tree: RootedTree;
  readonly #target: TreeNode;
  readonly #options: TreeUnpackOptions;
  readonly #reader = new TarReader();
  #file: OpenFile | undefined;
  /**
   * Modes and times of directories, set last: what happens in a directory changes its time, and its
   * mode may not let us write.
   */
  readonly #directories: { names: readonly string[]; entry: TarEntry }[] = [];

  /** @param target a directory of `tree`, which stays the caller's */
  constructor(tree: RootedTree, target: TreeNode, options: TreeUnpackOptions) {
    this.#tree = tree;
    this.#target = target;
    this.#options = options;
  }

  /** @throws {HatobaError} invalid-argument for a malformed tar; and what the disk refuses */
  push(chunk: Uint8Array): void {
    for (const event of this.#reader.push(chunk)) this.#take(event);
  }

  /** Tells that the tar is over. */
  end(): void {
    this.#reader.end();
    for (const { names, entry } of this.#directories.toReversed()) {
      within(entry.name, () => this.#finishDirectory(names, entry));
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) fs.closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #take(event: TarEvent): void {
    switch (event.type) {
      case 'entry':
        return within(event.entry.name, () => this.#begin(event.entry));
      case 'content':
        return within(this.#file?.path ?? '', () => this.#write(event.bytes));
      case 'hole':
        if (this.#file !== undefined) this.#file.writtenBytes += event.sizeBytes;
        return;
      case 'entry-end':
        return within(this.#file?.path ?? '', () => this.#endFile());
    }
  }

  #begin(entry: TarEntry): void {
    const names = this.#toNames(entry.name);
    const name = names.pop();
    if (name === undefined) {
      // The directory itself that is unpacked into keeps its attributes, as in Docker.
      if (entry.kind === 'directory') return;
      throw wrongName(entry.name);
    }
    const parent = this.#enter(names);
    try {
      refuseReadOnly(parent);
      this.#makeFree(parent, name, entry);
      if (entry.kind === 'directory') this.#makeDirectory(parent, name, names, entry);
      else this.#make(parent, name, entry);
    } finally {
      parent[Symbol.dispose]();
    }
  }

  /** The parts of an entry's name. */
  #toNames(name: string): string[] {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || name.includes('\0')) throw wrongName(name);
    const { rename } = this.#options;
    if (rename === undefined) return parts;
    if (rename.from === '.') return [rename.to, ...parts];
    return parts[0] === rename.from ? [rename.to, ...parts.slice(1)] : parts;
  }

  #enter(names: readonly string[]): TreeNode {
    if (this.#options.followLinks) {
      return this.#tree.find(names.join('/'), {
        from: this.#target,
        followLast: true,
        makeDirectories: true,
        directoryOwner: this.#options.rootOwner,
      });
    }
    let here = this.#target.duplicate();
    for (const name of names) {
      const options = { from: here, followLast: false, makeDirectories: true };
      const next = this.#tree.find(name, options);
      here[Symbol.dispose]();
      here = next;
      if (!here.stat.isSymbolicLink()) continue;
      here[Symbol.dispose]();
      throw new HatobaError(
        'failed-precondition',
        `${byteText(here.path)} is a symbolic link; nothing is written through it`,
      );
    }
    return here;
  }

  /** What is under the name goes, unless it is a directory. */
  #makeFree(parent: TreeNode, name: string, entry: TarEntry): void {
    const there = this.#tree.child(parent, name);
    if (there === undefined) return;
    there[Symbol.dispose]();
    const isDirectory = there.stat.isDirectory();
    if (isDirectory && entry.kind === 'directory') return;
    const where = byteText(there.path);
    if (isDirectory) {
      const what = 'cannot overwrite a directory with a file';
      throw new HatobaError('failed-precondition', `${where}: ${what}`);
    }
    if (entry.kind === 'directory') {
      const what = 'cannot overwrite a file with a directory';
      throw new HatobaError('failed-precondition', `${where}: ${what}`);
    }
    fs.rmSync(parent.at(name), { force: true });
  }

  #makeDirectory(parent: TreeNode, name: string, names: readonly string[], entry: TarEntry): void {
    try {
      fs.mkdirSync(parent.at(name), 0o700);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const made = this.#tree.child(parent, name);
    if (made?.stat.isDirectory() !== true) {
      made?.[Symbol.dispose]();
      throw treeError('ENOTDIR', entry.name);
    }
    try {
      this.#setOwner(made, entry);
      this.#setXattrs(made.fd, entry);
    } finally {
      made[Symbol.dispose]();
    }
    this.#directories.push({ names: [...names, name], entry });
  }

  /** Anything but a directory; a name that is taken again meanwhile is made free again. */
  #make(parent: TreeNode, name: string, entry: TarEntry): void {
    for (let tries = 0; ; tries++) {
      try {
        return this.#makeNew(parent, name, entry);
      } catch (error) {
        const isTaken = errnoOf(error) === 'EEXIST' || isTakenNode(error);
        if (!isTaken || tries === MAX_TRIES) throw error;
        this.#makeFree(parent, name, entry);
      }
    }
  }

  #makeNew(parent: TreeNode, name: string, entry: TarEntry): void {
    switch (entry.kind) {
      case 'file': {
        const fd = fs.openSync(parent.at(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        this.#file = { fd, entry, path: entry.name, writtenBytes: 0 };
        return;
      }
      case 'hardlink':
        return this.#makeHardLink(parent, name, entry);
      case 'symlink':
        fs.symlinkSync(Buffer.from(entry.linkName, 'latin1'), parent.at(name));
        return this.#finish(parent, name, entry);
      case 'character-device':
      case 'block-device':
      case 'fifo':
        this.#options.calls.makeNode(
          parent.fd,
          Buffer.from(name, 'latin1'),
          TYPE_BITS[entry.kind] | 0o600,
          entry,
        );
        return this.#finish(parent, name, entry);
      case 'directory':
        return;
    }
  }

  /** link(2) follows no link at the end of its source. */
  #makeHardLink(parent: TreeNode, name: string, entry: TarEntry): void {
    const names = this.#toNames(entry.linkName);
    const last = names.pop();
    if (last === undefined) throw wrongName(entry.linkName);
    const source = this.#enter(names);
    try {
      fs.linkSync(source.at(last), parent.at(name));
    } finally {
      source[Symbol.dispose]();
    }
  }

  /** Attributes and time of what was made under a name; somebody else's object there is left. */
  #finish(parent: TreeNode, name: string, entry: TarEntry): void {
    const made = this.#tree.child(parent, name);
    if (made === undefined) return;
    try {
      if (made.stat.isDirectory() || made.stat.isFile()) return;
      this.#setOwner(made, entry);
      if (!made.stat.isSymbolicLink()) fs.chmodSync(made.handle, entry.mode);
      this.#setXattrs(made.fd, entry);
      if (entry.kind === 'symlink') fs.lutimesSync(parent.at(name), ...times(entry.mtimeMs));
      else fs.utimesSync(made.handle, ...times(entry.mtimeMs));
    } finally {
      made[Symbol.dispose]();
    }
  }

  /** chown takes setuid bits and capabilities away: it comes first. */
  #setOwner(node: TreeNode, entry: TarEntry): void {
    const owner = this.#options.ownerOf(entry);
    if (owner !== undefined) fs.chownSync(node.handle, owner.uid, owner.gid);
  }

  #setXattrs(fd: number, entry: TarEntry): void {
    for (const [name, value] of entry.xattrs) {
      try {
        this.#options.calls.setXattr(fd, name, value);
      } catch (error) {
        // Decoration where unsupported; but file capabilities decide whether a program works.
        if (name.startsWith('security.') && this.#options.ownerOf(entry) !== undefined) throw error;
      }
    }
  }

  #write(bytes: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) return;
    if (bytes.length >= HOLE_BYTES && isZero(bytes)) {
      file.writtenBytes += bytes.length;
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const length = fs.writeSync(file.fd, bytes, at, bytes.length - at, file.writtenBytes);
      at += length;
      file.writtenBytes += length;
    }
  }

  #endFile(): void {
    const file = this.#file;
    if (file === undefined) return;
    const { fd, entry } = file;
    try {
      fs.ftruncateSync(fd, file.writtenBytes); // ends in a hole
      const owner = this.#options.ownerOf(entry);
      if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
      fs.fchmodSync(fd, entry.mode);
      this.#setXattrs(fd, entry);
      fs.futimesSync(fd, ...times(entry.mtimeMs));
    } finally {
      fs.closeSync(fd);
      this.#file = undefined;
    }
  }

  #finishDirectory(names: readonly string[], entry: TarEntry): void {
    const walked = this.#tree.walk(names.join('/'), { from: this.#target, followLast: false });
    if (!('node' in walked)) return walked.parent[Symbol.dispose]();
    const { node } = walked;
    try {
      if (!node.stat.isDirectory()) return;
      fs.chmodSync(node.handle, entry.mode);
      fs.utimesSync(node.handle, ...times(entry.mtimeMs));
    } finally {
      node[Symbol.dispose]();
    }
  }
}

/** Opens the directory a tar is to be unpacked in. @throws {HatobaError} as walk(); ENOTDIR */
export function openTarget(tree: RootedTree, path: string): TreeNode {
  const target = tree.find(path, { followLast: true });
  if (target.stat.isDirectory()) return target;
  target[Symbol.dispose]();
  throw treeError('ENOTDIR', path);
}

function isTakenNode(error: unknown): boolean {
  return error instanceof HatobaError && error.detail['errno'] === 'EEXIST';
}

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += HOLE_BYTES) {
    const piece = bytes.subarray(at, at + HOLE_BYTES);
    if (ZEROS.compare(piece, 0, piece.length, 0, piece.length) !== 0) return false;
  }
  return true;
}

function times(mtimeMs: number): [number, number] {
  return [mtimeMs / 1000, mtimeMs / 1000];
}

function wrongName(name: string): HatobaError {
  return new HatobaError('invalid-argument', `entry "${byteText(name)}" would leave its directory`);
}

function within<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asTreeError(error, path);
  }
}
