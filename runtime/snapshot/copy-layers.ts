import * as fs from 'node:fs';
import { pathCalls } from '../../linux/path-calls.js';
import type { IdMap } from '../../linux/ports.js';
import { SparseFile } from '../content/sparse-file.js';
import { copyAttributes, isOpaque, isWhiteout, shift } from './file-attributes.js';

/** An unpacked layer. */
export interface LayerSource {
  readonly diffDir: string;
  /** See LayerTree.impliedDirectories; byte strings. */
  readonly implied: readonly string[];
}

const COPY_BYTES = 1024 * 1024;
const SLASH = Buffer.from('/');

/**
 * Copies layers over one another into an empty folder, with the whiteouts of each applied to those
 * below it: what overlayfs would show. Blocks are shared where the file system can. Needs root, and
 * a worker thread, as all its calls block.
 * @param layers bottom first
 */
export function copyLayers(layers: readonly LayerSource[], target: string, idMap?: IdMap): void {
  const copier = new LayerCopier(target, idMap);
  for (const layer of layers) copier.copy(layer);
  copier.finish();
}

class LayerCopier {
  readonly #target: Buffer;
  readonly #idMap: IdMap | undefined;
  /** Directories, by their path as a byte string, set last because filling them changes it. */
  readonly #times = new Map<string, bigint>();

  constructor(target: string, idMap: IdMap | undefined) {
    this.#target = Buffer.from(target);
    this.#idMap = idMap;
    // as overlayfs: what "/" is in the container, layers do not say
    fs.chmodSync(target, 0o755);
    fs.chownSync(target, shift(0n, idMap?.uids), shift(0n, idMap?.gids));
  }

  copy({ diffDir, implied }: LayerSource): void {
    const layer = {
      root: Buffer.from(diffDir),
      implied: new Set(implied),
      links: new Map<bigint, Buffer>(),
    };
    this.#copyChildren(Buffer.alloc(0), layer);
  }

  finish(): void {
    for (const [path, mtimeNs] of this.#times) {
      const target = this.#at(Buffer.from(path, 'latin1'));
      if (lstat(target)?.isDirectory() === true) pathCalls.setTime(target, mtimeNs);
    }
  }

  #copyChildren(path: Buffer, layer: OpenLayer): void {
    for (const name of fs.readdirSync(join(layer.root, path), { encoding: 'buffer' })) {
      const child = path.length === 0 ? name : Buffer.concat([path, SLASH, name]);
      const stat = fs.lstatSync(join(layer.root, child), { bigint: true });
      if (stat.isDirectory()) {
        this.#copyDirectory(child, stat, layer);
        this.#copyChildren(child, layer);
      } else {
        this.#copyOther(child, stat, layer);
      }
    }
  }

  #copyDirectory(path: Buffer, stat: fs.BigIntStats, layer: OpenLayer): void {
    const [source, target] = [join(layer.root, path), this.#at(path)];
    const xattrs = pathCalls.xattrs(source);
    const there = lstat(target);
    const goesOn = there?.isDirectory() === true && !isOpaque(xattrs);
    const text = path.toString('latin1');
    if (goesOn && layer.implied.has(text)) return;
    if (!goesOn) {
      if (there !== undefined) remove(target);
      fs.mkdirSync(target, { mode: 0o700 });
    }
    copyAttributes(stat, xattrs, target, this.#idMap);
    this.#times.set(text, stat.mtimeNs);
  }

  #copyOther(path: Buffer, stat: fs.BigIntStats, layer: OpenLayer): void {
    const [source, target] = [join(layer.root, path), this.#at(path)];
    remove(target);
    if (isWhiteout(stat) || stat.isSocket()) return;
    const first = stat.nlink > 1n ? layer.links.get(stat.ino) : undefined;
    if (first !== undefined) {
      fs.linkSync(first, target);
      return;
    }
    if (stat.nlink > 1n) layer.links.set(stat.ino, target);
    if (stat.isFile()) copyContent(source, target, stat);
    else if (stat.isSymbolicLink()) {
      fs.symlinkSync(fs.readlinkSync(source, { encoding: 'buffer' }), target);
    } else makeNode(target, stat);
    copyAttributes(stat, pathCalls.xattrs(source), target, this.#idMap);
  }

  #at(path: Buffer): Buffer {
    return join(this.#target, path);
  }
}

interface OpenLayer {
  readonly root: Buffer;
  readonly implied: ReadonlySet<string>;
  /** Where the first of the names of a file was copied to, by its inode. */
  readonly links: Map<bigint, Buffer>;
}

function copyContent(source: Buffer, target: Buffer, stat: fs.BigIntStats): void {
  const { COPYFILE_EXCL, COPYFILE_FICLONE } = fs.constants;
  const isSparse = stat.blocks * 512n < stat.size;
  if (isSparse) copySparse(source, target);
  else fs.copyFileSync(source, target, COPYFILE_EXCL | COPYFILE_FICLONE);
}

function copySparse(source: Buffer, target: Buffer): void {
  const from = fs.openSync(source, 'r');
  const to = fs.openSync(target, 'wx', 0o600);
  try {
    const file = new SparseFile(to);
    const buffer = Buffer.alloc(COPY_BYTES);
    for (let read = fs.readSync(from, buffer); read > 0; read = fs.readSync(from, buffer)) {
      file.write(buffer.subarray(0, read));
    }
    file.finish();
  } finally {
    fs.closeSync(from);
    fs.closeSync(to);
  }
}

function makeNode(target: Buffer, stat: fs.BigIntStats): void {
  const device = stat.isFIFO() ? 0n : stat.rdev;
  const major = Number((device >> 8n) & 0xfffn) + Number((device >> 32n) & 0xfffff000n);
  const minor = Number(device & 0xffn) + Number((device >> 12n) & 0xffffff00n);
  pathCalls.mknod(target, Number(stat.mode), major, minor);
}

function remove(path: Buffer): void {
  fs.rmSync(path, { recursive: true, force: true });
}

function lstat(path: Buffer): fs.BigIntStats | undefined {
  return fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

function join(root: Buffer, path: Buffer): Buffer {
  return path.length === 0 ? root : Buffer.concat([root, SLASH, path]);
}
