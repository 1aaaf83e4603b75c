import * as fs from 'node:fs';
import { errnoOf, HatobaError, type ErrorKind } from '../../common/errors.js';
import { byteText } from '../core/tar-header.js';

const { O_DIRECTORY, O_NOFOLLOW } = fs.constants;
/** Linux's: a descriptor that only names an object. Opening it reads, waits for and starts nothing. */
const O_PATH = 0o10000000;
/** As many as the kernel follows. */
const MAX_LINKS = 40;
const MAX_PATH_BYTES = 4096;

/** What lies over a path of a tree whose own mounts cannot be seen from here. */
export interface TreeMount {
  /** Where in the tree: a byte string, absolute and normal, without links in it. */
  readonly target: string;
  /** A path of this machine; undefined for what is there only while the container runs. */
  readonly source: string | undefined;
  readonly readOnly: boolean;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** An open object of a tree; it stays the same whatever happens to its name. */
export class TreeNode implements Disposable {
  /** Of O_PATH. */
  readonly fd: number;
  readonly stat: fs.BigIntStats;
  /** Names that lead to it from the root, without links: byte strings. */
  readonly names: readonly string[];
  /** The mount it lies in. */
  readonly mount: TreeMount;
  /** What a symbolic link says, a byte string; empty for all else. */
  readonly linkTarget: string;

  constructor(fd: number, names: readonly string[], mount: TreeMount, linkTarget = '') {
    this.fd = fd;
    this.names = names;
    this.mount = mount;
    this.linkTarget = linkTarget;
    this.stat = fs.fstatSync(fd, { bigint: true });
  }

  /** Its path in the tree, a byte string. */
  get path(): string {
    return pathOf(this.names);
  }

  /** Leads to this very object, for calls that take paths. */
  get handle(): string {
    return `/proc/self/fd/${this.fd}`;
  }

  /** A name in this directory, for calls that do not follow a link there. */
  at(name: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.handle}/`), Buffer.from(name, 'latin1')]);
  }

  /** Another handle of the same object; both are to be closed. */
  duplicate(): TreeNode {
    return new TreeNode(fs.openSync(this.handle, O_PATH), this.names, this.mount);
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.fd);
  }
}

export interface WalkOptions {
  /** The directory a relative path begins at; absent: the root. */
  from?: TreeNode;
  /** Whether a link at the very end is followed. Those on the way always are. */
  followLast: boolean;
  /** Directories that are missing are made, 0755 … */
  makeDirectories?: boolean;
  /** … and given to this owner; undefined: whoever makes them. */
  directoryOwner?: Owner | undefined;
}

/** Where a path led: to an object, or to a name that is free in a directory. */
export type Walked =
  { readonly node: TreeNode } | { readonly parent: TreeNode; readonly missing: string };

/**
 * A tree of files seen as if its top were "/": no path leads out of it.
 * 1. Every step opens one name in an open directory, and never by the kernel's ".." or a followed
 *    link: links are read and walked here, from the top if they are absolute, and ".." goes back
 *    along the names walked. So also one who changes links and names while we look cannot send us
 *    outside; links of /proc (".../root", ".../fd/3") count as the text they read as.
 * 2. Nothing is opened but as a name (O_PATH): a fifo does not hang, a device does not start.
 * 3. Paths and names are byte strings, as in tars: names need not be UTF-8.
 */
export class RootedTree implements Disposable {
  readonly #root: TreeNode;
  readonly #mounts: ReadonlyMap<string, TreeMount>;

  /**
   * @param root a directory of this machine, or /proc/<pid>/root: a container's view with its mounts
   * @param mounts those that cannot be seen at `root` itself
   * @param readOnly whether nothing but what lies in mounts may be written
   */
  constructor(root: string, mounts: readonly TreeMount[] = [], readOnly = false) {
    this.#mounts = new Map(mounts.map((mount) => [mount.target, mount]));
    const own = { target: '/', source: root, readOnly };
    this.#root = new TreeNode(fs.openSync(root, O_PATH | O_DIRECTORY), [], own);
  }

  [Symbol.dispose](): void {
    this.#root[Symbol.dispose]();
  }

  /**
   * Walks a path; the caller closes what it gets.
   * @throws {HatobaError} not-found on the way to the last name; failed-precondition through a file;
   *   invalid-argument for a loop of links or a path that is too long
   */
  walk(path: string, options: WalkOptions): Walked {
    const todo = splitPath(path);
    let here = (options.from ?? this.#root).duplicate();
    let links = 0;
    try {
      for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
        if (!here.stat.isDirectory()) throw treeError('ENOTDIR', here.path);
        if (name === '' || name === '.') continue;
        if (name === '..') {
          here = swap(here, this.#reach(here.names.slice(0, -1)));
          continue;
        }
        const child = this.child(here, name) ?? this.#make(here, name, options);
        if (child === undefined) {
          refuseMore(todo, pathOf([...here.names, name]));
          return { parent: here, missing: name };
        }
        if (!child.stat.isSymbolicLink() || (todo.length === 0 && !options.followLast)) {
          here = swap(here, child);
          continue;
        }
        const target = child.linkTarget;
        child[Symbol.dispose]();
        if (++links > MAX_LINKS) throw treeError('ELOOP', path);
        if (target.startsWith('/')) here = swap(here, this.#root.duplicate());
        todo.push(...splitPath(target));
      }
      return { node: here };
    } catch (error) {
      here[Symbol.dispose]();
      throw asTreeError(error, path);
    }
  }

  /** As walk(), to what is there. @throws {HatobaError} also not-found for the last name */
  find(path: string, options: WalkOptions): TreeNode {
    const walked = this.walk(path, options);
    if ('node' in walked) return walked.node;
    const missing = pathOf([...walked.parent.names, walked.missing]);
    walked.parent[Symbol.dispose]();
    throw treeError('ENOENT', missing);
  }

  /** One name in a directory, not followed. @returns undefined where there is none */
  child(directory: TreeNode, name: string): TreeNode | undefined {
    const names = [...directory.names, name];
    const mount = this.#mounts.get(pathOf(names));
    if (mount !== undefined) return openMount(mount, names);
    for (;;) {
      let fd: number;
      try {
        fd = fs.openSync(directory.at(name), O_PATH | O_NOFOLLOW);
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
      if (!fs.fstatSync(fd).isSymbolicLink()) return new TreeNode(fd, names, directory.mount);
      const target = readLink(directory, name);
      if (target !== undefined) return new TreeNode(fd, names, directory.mount, target);
      // Somebody changes it while we look: once more, until both looks are of a link.
      fs.closeSync(fd);
    }
  }

  #make(directory: TreeNode, name: string, options: WalkOptions): TreeNode | undefined {
    if (options.makeDirectories !== true) return undefined;
    refuseReadOnly(directory);
    let isMade = true;
    try {
      fs.mkdirSync(directory.at(name), 0o755);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      isMade = false;
    }
    const made = this.child(directory, name);
    const { directoryOwner: owner } = options;
    if (isMade && owner !== undefined && made?.stat.isDirectory() === true) {
      fs.chownSync(made.handle, owner.uid, owner.gid);
    }
    return made;
  }

  /** By names walked before; none of them is a link unless somebody has just made it one. */
  #reach(names: readonly string[]): TreeNode {
    let here = this.#root.duplicate();
    try {
      for (const name of names) {
        const child = this.child(here, name);
        if (child === undefined) throw treeError('ENOENT', pathOf(names));
        here = swap(here, child);
      }
      return here;
    } catch (error) {
      here[Symbol.dispose]();
      throw error;
    }
  }
}

/** @throws {HatobaError} not-found when a path goes on behind a name that is not there */
function refuseMore(todo: readonly string[], missing: string): void {
  if (todo.some((rest) => rest !== '' && rest !== '.')) throw treeError('ENOENT', missing);
}

/** @throws {HatobaError} failed-precondition when nothing may be written there */
export function refuseReadOnly(node: TreeNode): void {
  if (node.mount.readOnly) throw treeError('EROFS', node.path);
}

/** A path as people write it, as the bytes that are on disk. */
export function toByteString(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1');
}

/** @param path a byte string; the message shows it as text */
export function treeError(errno: string, path: string): HatobaError {
  const [kind, what] = TREE_ERRORS[errno] ?? ['internal', errno];
  return new HatobaError(kind, `${byteText(path)}: ${what}`, { detail: { errno } });
}

/** Gives an error of a file system call its kind, and says which path it was. */
export function asTreeError(error: unknown, path: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof HatobaError || errno === undefined) return error;
  const known = treeError(errno, path);
  return new HatobaError(known.kind, known.message, { detail: { errno }, cause: undefined });
}

const TREE_ERRORS: Readonly<Record<string, readonly [ErrorKind, string]>> = {
  ENOENT: ['not-found', 'no such file or directory'],
  ENOTDIR: ['failed-precondition', 'not a directory'],
  EISDIR: ['failed-precondition', 'is a directory'],
  ELOOP: ['invalid-argument', 'a loop of symbolic links'],
  EROFS: ['failed-precondition', 'the file system is read-only'],
  ENAMETOOLONG: ['invalid-argument', 'the path is too long'],
  ENOSPC: ['resource-exhausted', 'no space left on the disk'],
  EDQUOT: ['resource-exhausted', 'no space left by the quota'],
  EMFILE: ['resource-exhausted', 'too many open files; is the tree too deep?'],
  EACCES: ['permission-denied', 'permission denied'],
  EPERM: ['permission-denied', 'operation not permitted'],
  EXDEV: ['failed-precondition', 'a hard link cannot lead to another file system'],
  ETXTBSY: ['failed-precondition', 'the program is running'],
};

function openMount(mount: TreeMount, names: readonly string[]): TreeNode {
  if (mount.source === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `${byteText(mount.target)} is in memory and there only while the container runs; start it first`,
    );
  }
  // A path of this machine, chosen by whoever made the container: followed as the kernel does.
  return new TreeNode(fs.openSync(mount.source, O_PATH), names, mount);
}

/** @returns undefined when it is no link any more */
function readLink(directory: TreeNode, name: string): string | undefined {
  try {
    return fs.readlinkSync(directory.at(name), 'latin1' as BufferEncoding);
  } catch (error) {
    if (['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** The parts of a path, the first one last. */
function splitPath(path: string): string[] {
  if (path.includes('\0')) {
    throw new HatobaError('invalid-argument', 'a path cannot have a NUL in it');
  }
  if (path.length > MAX_PATH_BYTES) throw treeError('ENAMETOOLONG', `${path.slice(0, 64)}…`);
  return path.split('/').toReversed();
}

function pathOf(names: readonly string[]): string {
  return `/${names.join('/')}`;
}

function swap(before: TreeNode, after: TreeNode): TreeNode {
  before[Symbol.dispose]();
  return after;
}
