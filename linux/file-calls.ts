import { HatobaError } from '../common/errors.js';
import { makeDevice } from './files.js';
import { check, checkUnless, libc } from './libc.js';

/**
 * File system calls that node:fs does not have, made at once on the calling thread: for worker
 * threads of their own, which may block. Objects are given by descriptors, also such of O_PATH, so
 * that nobody can put another in their place.
 */
export interface FileCalls {
  /** Names of its extended attributes; none where the file system has no such thing. */
  listXattrs(fd: number): string[];
  /** @returns undefined where there is no such attribute */
  getXattr(fd: number, name: string): Uint8Array | undefined;
  setXattr(fd: number, name: string, value: Uint8Array): void;
  /**
   * A new device node or fifo in an open directory.
   * @param name a single name, in bytes
   * @param mode type and permissions, less what the umask takes
   * @throws {HatobaError} already-exists
   */
  makeNode(
    dirFd: number,
    name: Uint8Array,
    mode: number,
    device: { major: number; minor: number },
  ): void;
}

/** The real ones. Loads the C library into the thread that imports this file. */
export const fileCalls: FileCalls = {
  listXattrs(fd) {
    const bytes = readGrowing(
      (into, size) => libc.listxattr(procPath(fd), into, size),
      ['EOPNOTSUPP'],
      'listing extended attributes',
    );
    return (bytes?.toString('utf8') ?? '').split('\0').filter((name) => name !== '');
  },
  getXattr(fd, name) {
    return readGrowing(
      (into, size) => libc.getxattr(procPath(fd), name, into, size),
      ['ENODATA', 'EOPNOTSUPP'],
      `reading attribute ${name}`,
    );
  },
  setXattr(fd, name, value) {
    check(libc.setxattr(procPath(fd), name, value, value.length, 0), `setting attribute ${name}`);
  },
  makeNode(dirFd, name, mode, { major, minor }) {
    if (name.includes(0) || name.includes(0x2f)) {
      throw new HatobaError('invalid-argument', 'a file name cannot have "/" or NUL in it');
    }
    const terminated = Buffer.concat([name, Buffer.of(0)]);
    check(libc.mknodat(dirFd, terminated, mode, makeDevice(major, minor)), 'making a device node');
  },
};

/** Leads to the very object a descriptor is of, whatever its kind: a link is not followed further. */
function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** What a call gives that tells its size when asked with none; it may grow between the two. */
function readGrowing(
  read: (into: Uint8Array | null, sizeBytes: number) => number,
  nothing: readonly ('ENODATA' | 'EOPNOTSUPP')[],
  action: string,
): Buffer | undefined {
  for (;;) {
    const size = read(null, 0);
    if (!checkUnless(size, nothing, action)) return undefined;
    if (size === 0) return Buffer.alloc(0);
    const bytes = Buffer.alloc(size);
    const length = read(bytes, size);
    if (!checkUnless(length, ['ERANGE', ...nothing], action)) continue;
    return bytes.subarray(0, length);
  }
}
