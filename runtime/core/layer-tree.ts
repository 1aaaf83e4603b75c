import { HatobaError } from '../../common/errors.js';
import { byteText, type TarEntry } from './tar-header.js';

/** Owner, permissions, time and attributes of one file. */
export type FileAttributes = Pick<TarEntry, 'mode' | 'uid' | 'gid' | 'mtimeNs' | 'xattrs'>;

/**
 * One change of a layer's folder. Paths are byte strings relative to it, without leading slash and
 * without "." or ".." ("" is the folder itself), and all their parents are real directories made by
 * earlier changes: to carry a change out, no symbolic link is ever followed.
 */
export type LayerChange =
  /** What is there goes, with all below it. */
  | { readonly change: 'remove'; readonly path: string }
  /** A new directory; `attributes` absent: 0755 of root. */
  | { readonly change: 'make-directory'; readonly path: string }
  | {
      readonly change: 'directory-attributes';
      readonly path: string;
      readonly attributes: FileAttributes;
    }
  /** A new file that takes the content that follows. */
  | { readonly change: 'file'; readonly path: string; readonly attributes: FileAttributes }
  | {
      readonly change: 'symlink';
      readonly path: string;
      readonly target: string;
      readonly attributes: FileAttributes;
    }
  | { readonly change: 'hardlink'; readonly path: string; readonly target: string }
  | {
      readonly change: 'device';
      readonly path: string;
      readonly kind: 'character-device' | 'block-device' | 'fifo';
      readonly major: number;
      readonly minor: number;
      readonly attributes: FileAttributes;
    }
  /** overlayfs: hides what lower layers have there. */
  | { readonly change: 'whiteout'; readonly path: string }
  /** overlayfs: the directory hides all that lower layers have in it. */
  | { readonly change: 'opaque'; readonly path: string };

interface Directory {
  readonly kind: 'directory';
  readonly children: Map<string, Node>;
  opaque: boolean;
  /** Made as a parent only: the tar says nothing of it. */
  implied: boolean;
  mtimeNs: bigint | undefined;
}
type Node =
  | Directory
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'whiteout' | 'other' };

/** A directory and the names that lead to it. */
interface Place {
  readonly directory: Directory;
  readonly names: readonly string[];
}

const OVERLAY_XATTR = /^(trusted|user)\.overlay\./;
const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** aufs kept its own bookkeeping in names of this form; they say nothing about files. */
const AUFS_PREFIX = '.wh..wh.';
/** As many as the kernel follows. */
const MAX_SYMLINKS = 40;
const MAX_PATH_BYTES = 4096;

/**
 * Turns the entries of a layer's tar into changes of its folder, in overlayfs's form.
 * 1. No change touches anything outside the folder: ".." in an entry is refused, absolute names are
 *    taken from the folder, and symbolic links in a parent are resolved inside it, as if it were "/".
 * 2. The folder starts empty and nobody else writes to it, so what this class remembers is what is
 *    there; it asks the disk nothing.
 * 3. Whiteouts concern lower layers only: what the same tar adds stays, whichever comes first.
 */
export class LayerTree {
  readonly #root = newDirectory();
  #nodes = 1;
  readonly #maxNodes: number;

  /** @param limits.maxEntries files and directories, those made as parents included */
  constructor(limits: { maxEntries: number }) {
    this.#maxNodes = limits.maxEntries;
  }

  /** How many files and directories the layer has had so far. */
  get entries(): number {
    return this.#nodes - 1;
  }

  /**
   * What an entry changes, in order; possibly nothing.
   * @throws {HatobaError} invalid-argument naming the entry; resource-exhausted beyond the limit
   */
  plan(entry: TarEntry): LayerChange[] {
    const changes: LayerChange[] = [];
    const names = splitName(entry.name, entry);
    const base = names.pop();
    if (base === undefined) {
      this.#planRoot(entry, changes);
      return changes;
    }
    const parent = this.#enter(names, entry, changes);
    if (base.startsWith(WHITEOUT)) this.#planWhiteout(parent, base, entry, changes);
    else this.#planNamed(parent, base, entry, changes);
    return changes;
  }

  /** Times of directories, which are set last because what happens in a directory changes them. */
  *directoryTimes(): Generator<{ path: string; mtimeNs: bigint }, void, void> {
    for (const { path, directory } of this.#directories(() => true)) {
      if (directory.mtimeNs !== undefined) yield { path, mtimeNs: directory.mtimeNs };
    }
  }

  /**
   * Directories that the tar has files in and says nothing of. Where a lower layer has one of the
   * same path, that one's owner and mode count; those that hide all lower layers are not given.
   */
  *impliedDirectories(): Generator<string, void, void> {
    for (const { path, directory } of this.#directories((parent) => !parent.opaque)) {
      if (path !== '' && directory.implied && !directory.opaque) yield path;
    }
  }

  /** Parents before their children. */
  *#directories(
    enters: (directory: Directory) => boolean,
  ): Generator<{ path: string; directory: Directory }, void, void> {
    const open: { path: string; directory: Directory }[] = [{ path: '', directory: this.#root }];
    for (let place = open.pop(); place !== undefined; place = open.pop()) {
      const { path, directory } = place;
      yield place;
      if (!enters(directory)) continue;
      for (const [name, child] of directory.children) {
        const childPath = path === '' ? name : `${path}/${name}`;
        if (child.kind === 'directory') open.push({ path: childPath, directory: child });
      }
    }
  }

  #planRoot(entry: TarEntry, changes: LayerChange[]): void {
    if (entry.kind !== 'directory') throw wrong(entry, 'is the layer itself and no directory');
    this.#root.mtimeNs = entry.mtimeNs;
    changes.push({ change: 'directory-attributes', path: '', attributes: attributesOf(entry) });
  }

  #planWhiteout(parent: Place, base: string, entry: TarEntry, changes: LayerChange[]): void {
    if (base === OPAQUE) {
      markOpaque(parent, changes);
      return;
    }
    if (base.startsWith(AUFS_PREFIX)) return;
    const name = base.slice(WHITEOUT.length);
    if (name === '' || name === '.' || name === '..') throw wrong(entry, 'deletes no file by name');
    const existing = parent.directory.children.get(name);
    if (existing?.kind === 'directory') {
      markOpaque({ directory: existing, names: [...parent.names, name] }, changes);
    } else if (existing === undefined) {
      this.#add(parent.directory, name, { kind: 'whiteout' });
      changes.push({ change: 'whiteout', path: joinNames(parent.names, name) });
    }
  }

  #planDirectory(
    parent: Place,
    base: string,
    attributes: FileAttributes,
    changes: LayerChange[],
  ): void {
    const existing = parent.directory.children.get(base);
    const directory =
      existing?.kind === 'directory' ? existing : this.#makeDirectory(parent, base, changes);
    directory.mtimeNs = attributes.mtimeNs;
    directory.implied = false;
    const path = joinNames(parent.names, base);
    changes.push({ change: 'directory-attributes', path, attributes });
  }

  #planHardlink(parent: Place, base: string, entry: TarEntry, changes: LayerChange[]): void {
    const targetNames = splitName(entry.linkName, entry);
    const targetBase = targetNames.pop();
    const from = this.#find(targetNames, entry);
    const target = targetBase === undefined ? undefined : from?.directory.children.get(targetBase);
    if (from === undefined || targetBase === undefined || target === undefined) {
      throw wrong(
        entry,
        `is a hard link to "${byteText(entry.linkName)}", which the layer does not have`,
      );
    }
    if (target.kind === 'directory' || target.kind === 'whiteout') {
      throw wrong(entry, `is a hard link to "${byteText(entry.linkName)}", which is no file`);
    }
    if (from.directory === parent.directory && targetBase === base) return;
    const path = joinNames(parent.names, base);
    this.#removeExisting(parent, base, changes);
    if (!isReachable(this.#root, from, targetBase)) {
      throw wrong(entry, `is a hard link into the directory "${byteText(path)}" that it replaces`);
    }
    this.#add(parent.directory, base, target);
    changes.push({ change: 'hardlink', path, target: joinNames(from.names, targetBase) });
  }

  #planNamed(parent: Place, base: string, entry: TarEntry, changes: LayerChange[]): void {
    const { kind, major, minor, linkName: target } = entry;
    const attributes = attributesOf(entry);
    const path = joinNames(parent.names, base);
    switch (kind) {
      case 'directory':
        this.#planDirectory(parent, base, attributes, changes);
        return;
      case 'hardlink':
        this.#planHardlink(parent, base, entry, changes);
        return;
      case 'file':
        this.#replace(parent, base, { kind: 'other' }, changes);
        changes.push({ change: 'file', path, attributes });
        return;
      case 'symlink':
        if (target === '') throw wrong(entry, 'is a symbolic link to nothing');
        this.#replace(parent, base, { kind: 'symlink', target }, changes);
        changes.push({ change: 'symlink', path, target, attributes });
        return;
      case 'character-device':
      case 'block-device':
      case 'fifo':
        this.#replace(parent, base, { kind: 'other' }, changes);
        changes.push({ change: 'device', path, kind, major, minor, attributes });
    }
  }

  #replace(parent: Place, base: string, node: Node, changes: LayerChange[]): void {
    this.#removeExisting(parent, base, changes);
    this.#add(parent.directory, base, node);
  }

  #removeExisting(parent: Place, base: string, changes: LayerChange[]): void {
    if (!parent.directory.children.delete(base)) return;
    changes.push({ change: 'remove', path: joinNames(parent.names, base) });
  }

  #makeDirectory(parent: Place, base: string, changes: LayerChange[]): Directory {
    const hidesLower = parent.directory.children.get(base)?.kind === 'whiteout';
    this.#removeExisting(parent, base, changes);
    const directory = newDirectory();
    this.#add(parent.directory, base, directory);
    const names = [...parent.names, base];
    changes.push({ change: 'make-directory', path: names.join('/') });
    if (hidesLower) markOpaque({ directory, names }, changes);
    return directory;
  }

  #add(directory: Directory, name: string, node: Node): void {
    if (++this.#nodes - 1 > this.#maxNodes) {
      throw new HatobaError(
        'resource-exhausted',
        `the layer has more than ${this.#maxNodes} entries`,
      );
    }
    directory.children.set(name, node);
  }

  /** The directory that names lead to; what is missing on the way is made. */
  #enter(names: readonly string[], entry: TarEntry, changes: LayerChange[]): Place {
    const place = this.#walk(names, entry, (parent, name) =>
      this.#makeDirectory(parent, name, changes),
    );
    if (place === undefined) throw wrong(entry, 'has no parent directory');
    return place;
  }

  /** The directory that names lead to, if it is there. */
  #find(names: readonly string[], entry: TarEntry): Place | undefined {
    return this.#walk(names, entry, () => undefined);
  }

  #walk(
    names: readonly string[],
    entry: TarEntry,
    missing: (parent: Place, name: string) => Directory | undefined,
  ): Place | undefined {
    const path: { name: string; directory: Directory }[] = [];
    const left = names.toReversed();
    let symlinks = 0;
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      if (name === '..') {
        path.pop(); // only targets of links have it, and at the top it stays there
        continue;
      }
      const directory = path.at(-1)?.directory ?? this.#root;
      let child = directory.children.get(name);
      if (child?.kind === 'symlink') {
        if (++symlinks > MAX_SYMLINKS) throw wrong(entry, 'leads through too many symbolic links');
        if (child.target.startsWith('/')) path.length = 0;
        left.push(
          ...child.target
            .split('/')
            .filter((n) => n !== '' && n !== '.')
            .reverse(),
        );
        continue;
      }
      if (child === undefined || child.kind === 'whiteout') {
        child = missing({ directory, names: path.map((p) => p.name) }, name);
        if (child === undefined) return undefined;
      }
      if (child.kind !== 'directory')
        throw wrong(entry, `has the parent "${byteText(name)}", which is no directory`);
      path.push({ name, directory: child });
    }
    return { directory: path.at(-1)?.directory ?? this.#root, names: path.map((p) => p.name) };
  }
}

/** Attributes as a layer may set them: those that steer overlayfs are ours alone. */
function attributesOf(entry: TarEntry): FileAttributes {
  const { mode, uid, gid, mtimeNs } = entry;
  const xattrs = [...entry.xattrs].filter(([name]) => !OVERLAY_XATTR.test(name));
  return { mode, uid, gid, mtimeNs, xattrs: new Map(xattrs) };
}

/** Whether a place still hangs below the root, with a file of this name in it. */
function isReachable(root: Directory, place: Place, base: string): boolean {
  let directory = root;
  for (const name of place.names) {
    const child = directory.children.get(name);
    if (child?.kind !== 'directory') return false;
    directory = child;
  }
  return directory === place.directory && directory.children.has(base);
}

function newDirectory(): Directory {
  return {
    kind: 'directory',
    children: new Map(),
    opaque: false,
    implied: true,
    mtimeNs: undefined,
  };
}

function markOpaque({ directory, names }: Place, changes: LayerChange[]): void {
  if (directory.opaque) return;
  directory.opaque = true;
  changes.push({ change: 'opaque', path: names.join('/') });
}

/** The parts of a name as an entry writes it, from the layer's own root. */
function splitName(name: string, entry: TarEntry): string[] {
  if (name.length > MAX_PATH_BYTES) throw wrong(entry, `has a name of ${name.length} bytes`);
  const names = name.split('/').filter((part) => part !== '' && part !== '.');
  if (names.includes('..')) throw wrong(entry, 'leaves the layer with ".."');
  return names;
}

function joinNames(names: readonly string[], base: string): string {
  return names.length === 0 ? base : `${names.join('/')}/${base}`;
}

function wrong(entry: TarEntry, what: string): HatobaError {
  const name = byteText(entry.name.slice(0, 200));
  return new HatobaError('invalid-argument', `entry "${name}" ${what}`);
}
