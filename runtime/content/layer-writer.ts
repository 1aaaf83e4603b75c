import * as fs from 'node:fs';
import { HatobaError, describeError, errnoOf, wrapError } from '../../common/errors.js';
import type { PathCalls } from '../../linux/path-calls.js';
import { explainFullDisk } from './durable-file.js';
import type { FileAttributes, LayerChange } from '../core/layer-tree.js';
import { byteText } from '../core/tar-header.js';
import { SparseFile } from './sparse-file.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const TYPE_BITS = { 'character-device': 0o020000, 'block-device': 0o060000, fifo: 0o010000 };

interface OpenFile {
  readonly fd: number;
  readonly path: string;
  readonly attributes: FileAttributes;
  readonly content: SparseFile;
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
      file.content.write(bytes);
    });
  }

  /** Adds a hole to the file opened by the last `file` change. */
  skip(sizeBytes: number): void {
    this.#open?.content.skip(sizeBytes);
  }

  /** Ends the file opened by the last `file` change, if there is one. */
  endFile(): void {
    const file = this.#open;
    if (file === undefined) return;
    this.#at(file.path, () => {
      try {
        const { uid, gid, mode, mtimeNs, xattrs } = file.attributes;
        file.content.finish();
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
        this.#open = {
          fd,
          path: change.path,
          attributes: change.attributes,
          content: new SparseFile(fd),
        };
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
        if (name === 'security.capability') throw error;
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
    const explained = explainFullDisk(error, byteText(this.#prefix.slice(0, -1)));
    if (explained instanceof HatobaError) return wrapError(explained, where);
    const isNamedTooLong = ['ENAMETOOLONG', 'EFBIG'].includes(errnoOf(error) ?? '');
    const kind = isNamedTooLong ? 'invalid-argument' : 'internal';
    return new HatobaError(kind, `${where}: ${describeError(error)}`, { cause: error });
  }
}
