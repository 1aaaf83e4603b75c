import * as fs from 'node:fs';
import { HatobaError, describeError, errnoOf } from '../../common/errors.js';
import type { PathCalls } from '../../linux/path-calls.js';
import type { FileAttributes, LayerChange } from '../core/layer-tree.js';
import { byteText } from '../core/tar-header.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
/** Files are looked through for zeros by blocks of the disk; a run of so many becomes a hole. */
const BLOCK_BYTES = 4096;
const MIN_HOLE_BLOCKS = 8;
const ZEROS = new Uint8Array(BLOCK_BYTES);
const TYPE_BITS = { 'character-device': 0o020000, 'block-device': 0o060000, fifo: 0o010000 };

/** A file being written; `at` is where the next bytes go. */
interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly attributes: FileAttributes;
  at: number;
  /** Length of what is on disk: what lies between it and `at` is a hole not made yet. */
  sizeBytes: number;
}

/** The calls of the kernel that unpacking needs. */
export type LayerFiles = Pick<PathCalls, 'mknod' | 'setXattr' | 'setTime'>;

/**
 * Carries out the changes of a LayerTree in a folder. All calls are synchronous, so it belongs in a
 * worker thread. Needs root, for owners and devices.
 */
export class LayerWriter {
  readonly #prefix: string;
  readonly #files: LayerFiles;
  #open: OpenFile | undefined;
  #skippedXattrs = 0;

  /** @param root an empty folder that nobody else writes to */
  constructor(root: string, files: LayerFiles) {
    this.#prefix = `${Buffer.from(root).toString('latin1')}/`;
    this.#files = files;
  }

  /** Extended attributes that the file system does not support and that no security hangs on. */
  get skippedXattrs(): number {
    return this.#skippedXattrs;
  }

  /** @throws {HatobaError} naming the path: resource-exhausted without space, else internal */
  apply(change: LayerChange): void {
    this.#at(change.path, () => {
      this.#apply(change);
    });
  }

  /** Adds to the file opened by the last `file` change. */
  write(bytes: Uint8Array): void {
    const file = this.#open;
    if (file === undefined) return;
    this.#at(file.path, () => {
      for (let from = 0; from < bytes.length;) {
        const hole = findHole(bytes, from, file.at);
        writeAll(file, bytes.subarray(from, hole.start));
        file.at += hole.end - hole.start;
        from = hole.end;
      }
    });
  }

  /** Adds a hole to the file opened by the last `file` change. */
  skip(sizeBytes: number): void {
    if (this.#open !== undefined) this.#open.at += sizeBytes;
  }

  /** Ends the file opened by the last `file` change, if there is one. */
  endFile(): void {
    const file = this.#open;
    if (file === undefined) return;
    this.#at(file.path, () => {
      try {
        const { uid, gid, mode, mtimeNs, xattrs } = file.attributes;
        if (file.at > file.sizeBytes) fs.ftruncateSync(file.fd, file.at);
        // chown clears setuid bits and capabilities: it comes first
        if (uid !== 0 || gid !== 0) fs.fchownSync(file.fd, uid, gid);
        fs.fchmodSync(file.fd, mode);
        this.#setXattrs(file.path, xattrs);
        this.#files.setTime(this.#bytes(file.path), mtimeNs);
      } finally {
        this.close();
      }
    });
  }

  setTime(path: string, mtimeNs: bigint): void {
    this.#at(path, () => {
      this.#files.setTime(this.#bytes(path), mtimeNs);
    });
  }

  /** Closes what a failure left open. */
  close(): void {
    if (this.#open !== undefined) fs.closeSync(this.#open.fd);
    this.#open = undefined;
  }

  #apply(change: LayerChange): void {
    const path = this.#bytes(change.path);
    switch (change.change) {
      case 'remove':
        fs.rmSync(path, { recursive: true });
        return;
      case 'make-directory':
        fs.mkdirSync(path, 0o700);
        fs.chmodSync(path, 0o755);
        return;
      case 'directory-attributes':
        fs.lchownSync(path, change.attributes.uid, change.attributes.gid);
        fs.chmodSync(path, change.attributes.mode);
        this.#setXattrs(change.path, change.attributes.xattrs);
        return;
      case 'file': {
        const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        this.#open = { fd, path: change.path, attributes: change.attributes, at: 0, sizeBytes: 0 };
        return;
      }
      case 'symlink':
        fs.symlinkSync(Buffer.from(change.target, 'latin1'), path);
        fs.lchownSync(path, change.attributes.uid, change.attributes.gid);
        this.#files.setTime(path, change.attributes.mtimeNs);
        return;
      case 'hardlink':
        fs.linkSync(this.#bytes(change.target), path);
        return;
      case 'device':
        this.#makeDevice(change);
        return;
      case 'whiteout':
        this.#files.mknod(path, TYPE_BITS['character-device'], 0, 0);
        return;
      case 'opaque':
        this.#setXattr(change.path, 'trusted.overlay.opaque', Buffer.from('y'));
    }
  }

  #makeDevice(change: LayerChange & { change: 'device' }): void {
    const { kind, major, minor, attributes } = change;
    const path = this.#bytes(change.path);
    this.#files.mknod(path, TYPE_BITS[kind] | 0o600, major, minor);
    fs.lchownSync(path, attributes.uid, attributes.gid);
    fs.chmodSync(path, attributes.mode);
    this.#setXattrs(change.path, attributes.xattrs);
    this.#files.setTime(path, attributes.mtimeNs);
  }

  #setXattrs(path: string, xattrs: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, value] of xattrs) {
      try {
        this.#setXattr(path, name, value);
      } catch (error) {
        // file capabilities decide whether a program works; others are decoration where unsupported
        if (name.startsWith('security.')) throw error;
        this.#skippedXattrs++;
      }
    }
  }

  #setXattr(path: string, name: string, value: Uint8Array): void {
    this.#files.setXattr(this.#bytes(path), name, value);
  }

  #bytes(path: string): Buffer {
    return Buffer.from(this.#prefix + path, 'latin1');
  }

  #at(path: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      throw this.#wrap(error, path);
    }
  }

  #wrap(error: unknown, path: string): HatobaError {
    const where = `unpacking "${byteText(path)}"`;
    if (error instanceof HatobaError) {
      return new HatobaError(error.kind, `${where}: ${error.message}`, { cause: error });
    }
    const kind = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')
      ? 'resource-exhausted'
      : ['ENAMETOOLONG', 'EFBIG'].includes(errnoOf(error) ?? '')
        ? 'invalid-argument'
        : 'internal';
    return new HatobaError(kind, `${where}: ${describeError(error)}`, { cause: error });
  }
}

function writeAll(file: OpenFile, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  for (let done = 0; done < bytes.length;) {
    const written = fs.writeSync(file.fd, bytes, done, bytes.length - done, file.at);
    done += written;
    file.at += written;
  }
  file.sizeBytes = file.at;
}

/**
 * The first run of zeros worth leaving out, in what comes after `from` and belongs to `at` in the
 * file; an empty one at the end of the bytes when there is none.
 */
function findHole(bytes: Uint8Array, from: number, at: number): { start: number; end: number } {
  let start = from + ((BLOCK_BYTES - (at % BLOCK_BYTES)) % BLOCK_BYTES);
  let end = start;
  while (end + BLOCK_BYTES <= bytes.length) {
    if (isZero(bytes, end)) {
      end += BLOCK_BYTES;
      continue;
    }
    if (end - start >= MIN_HOLE_BLOCKS * BLOCK_BYTES) return { start, end };
    start = end += BLOCK_BYTES;
  }
  if (end - start >= MIN_HOLE_BLOCKS * BLOCK_BYTES) return { start, end };
  return { start: bytes.length, end: bytes.length };
}

function isZero(bytes: Uint8Array, from: number): boolean {
  if (bytes[from] !== 0) return false;
  return Buffer.compare(bytes.subarray(from, from + BLOCK_BYTES), ZEROS) === 0;
}
