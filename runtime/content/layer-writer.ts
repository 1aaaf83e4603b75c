import * as fs from 'node:fs';
import { HatobaError, describeError, errnoOf } from '../../common/errors.js';
import type { Files } from '../../linux/ports.js';
import type { FileAttributes, LayerChange } from '../core/layer-tree.js';
import { byteText } from '../core/tar-header.js';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const TYPE_BITS = { 'character-device': 0o020000, 'block-device': 0o060000, fifo: 0o010000 };

/** The calls of the kernel that unpacking needs; made one at a time. */
export type LayerFiles = Pick<Files, 'mknod' | 'setXattr'>;

/**
 * Carries out the changes of a LayerTree in a folder. File system calls are synchronous, so it
 * belongs in a worker thread; only device nodes and attributes go through `files` and are awaited.
 * Needs root, for owners and devices.
 */
export class LayerWriter {
  readonly #prefix: string;
  readonly #files: LayerFiles;
  #open: { fd: number; path: string; attributes: FileAttributes } | undefined;
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
  async apply(change: LayerChange): Promise<void> {
    try {
      await this.#apply(change);
    } catch (error) {
      throw this.#wrap(error, change.path);
    }
  }

  /** Adds to the file opened by the last `file` change. */
  write(bytes: Uint8Array): void {
    const file = this.#open;
    if (file === undefined) return;
    try {
      for (let at = 0; at < bytes.length;) at += fs.writeSync(file.fd, bytes, at);
    } catch (error) {
      throw this.#wrap(error, file.path);
    }
  }

  /** Ends the file opened by the last `file` change, if there is one. */
  async endFile(): Promise<void> {
    const file = this.#open;
    if (file === undefined) return;
    try {
      const { uid, gid, mode, mtimeMs, xattrs } = file.attributes;
      // chown clears setuid bits and capabilities: it comes first
      if (uid !== 0 || gid !== 0) fs.fchownSync(file.fd, uid, gid);
      fs.fchmodSync(file.fd, mode);
      if (xattrs.size > 0) await this.#setXattrs(file.path, xattrs);
      fs.futimesSync(file.fd, mtimeMs / 1000, mtimeMs / 1000);
    } catch (error) {
      throw this.#wrap(error, file.path);
    } finally {
      this.close();
    }
  }

  setTime(path: string, mtimeMs: number): void {
    try {
      fs.lutimesSync(this.#bytes(path), mtimeMs / 1000, mtimeMs / 1000);
    } catch (error) {
      throw this.#wrap(error, path);
    }
  }

  /** Closes what a failure left open. */
  close(): void {
    if (this.#open !== undefined) fs.closeSync(this.#open.fd);
    this.#open = undefined;
  }

  async #apply(change: LayerChange): Promise<void> {
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
        await this.#setXattrs(change.path, change.attributes.xattrs);
        return;
      case 'file': {
        const fd = fs.openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
        this.#open = { fd, path: change.path, attributes: change.attributes };
        return;
      }
      case 'symlink':
        fs.symlinkSync(Buffer.from(change.target, 'latin1'), path);
        fs.lchownSync(path, change.attributes.uid, change.attributes.gid);
        this.setTime(change.path, change.attributes.mtimeMs);
        return;
      case 'hardlink':
        fs.linkSync(this.#bytes(change.target), path);
        return;
      case 'device':
        await this.#makeDevice(change);
        return;
      case 'whiteout':
        await this.#files.mknod(this.#text(change.path), TYPE_BITS['character-device'], 0, 0);
        return;
      case 'opaque':
        await this.#setXattr(change.path, 'trusted.overlay.opaque', Buffer.from('y'));
    }
  }

  async #makeDevice(change: LayerChange & { change: 'device' }): Promise<void> {
    const { kind, major, minor, attributes } = change;
    await this.#files.mknod(this.#text(change.path), TYPE_BITS[kind] | 0o600, major, minor);
    const path = this.#bytes(change.path);
    fs.lchownSync(path, attributes.uid, attributes.gid);
    fs.chmodSync(path, attributes.mode);
    await this.#setXattrs(change.path, attributes.xattrs);
    this.setTime(change.path, attributes.mtimeMs);
  }

  async #setXattrs(path: string, xattrs: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const [name, value] of xattrs) {
      try {
        await this.#setXattr(path, name, value);
      } catch (error) {
        // file capabilities decide whether a program works; others are decoration where unsupported
        if (name.startsWith('security.')) throw error;
        this.#skippedXattrs++;
      }
    }
  }

  async #setXattr(path: string, name: string, value: Uint8Array): Promise<void> {
    await this.#files.setXattr(this.#text(path), name, value);
  }

  #bytes(path: string): Buffer {
    return Buffer.from(this.#prefix + path, 'latin1');
  }

  /** For calls that take text: a name that is no UTF-8 would become another name. */
  #text(path: string): string {
    const bytes = this.#bytes(path);
    const text = bytes.toString('utf8');
    if (!Buffer.from(text, 'utf8').equals(bytes)) {
      throw new HatobaError('invalid-argument', 'a device or attribute needs a name in UTF-8');
    }
    return text;
  }

  #wrap(error: unknown, path: string): HatobaError {
    const where = `unpacking "${byteText(path)}"`;
    if (error instanceof HatobaError) {
      return new HatobaError(error.kind, `${where}: ${error.message}`, { cause: error });
    }
    const kind = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')
      ? 'resource-exhausted'
      : errnoOf(error) === 'ENAMETOOLONG'
        ? 'invalid-argument'
        : 'internal';
    return new HatobaError(kind, `${where}: ${describeError(error)}`, { cause: error });
  }
}
