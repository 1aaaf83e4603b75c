import { makeDevice } from './files.js';
import { AT_FDCWD, bytePathLibc, check, checkUnless } from './libc.js';

/**
 * File system calls that node:fs does not have, made on the calling thread: for worker threads that
 * handle whole trees of their own, where a message for each call would cost more than the call.
 * Paths are bytes, as names on disk need not be UTF-8; a symbolic link at their end is not followed.
 * (See FileCalls for trees that others may change meanwhile.)
 *
 * All throw a HatobaError naming operation, path and errno.
 */
export interface PathCalls {
  /** @param mode type and permissions as in mknod(2), of which the umask takes away some */
  mknod(path: Uint8Array, mode: number, major: number, minor: number): void;
  setXattr(path: Uint8Array, name: string, value: Uint8Array): void;
  /** All that this process may see; none where the file system has no attributes. */
  xattrs(path: Uint8Array): ReadonlyMap<string, Uint8Array>;
  /** Sets the time of modification, since 1970, and that of access to the same. */
  setTime(path: Uint8Array, mtimeNs: bigint): void;
}

const AT_SYMLINK_NOFOLLOW = 0x100;
const NANOS_PER_SECOND = 1_000_000_000n;

/** The real ones. Loads the C library into the thread that imports this file. */
export const pathCalls: PathCalls = {
  mknod(path, mode, major, minor) {
    const result = bytePathLibc.mknod(terminated(path), mode, makeDevice(major, minor));
    check(result, () => `making device node ${shown(path)}`);
  },
  setXattr(path, name, value) {
    const result = bytePathLibc.lsetxattr(terminated(path), name, value, value.length, 0);
    check(result, () => `setting attribute ${name} of ${shown(path)}`);
  },
  xattrs(path) {
    const target = terminated(path);
    const action = `reading the attributes of ${shown(path)}`;
    const names = readSized((out, size) => bytePathLibc.llistxattr(target, out, size), action);
    const found = new Map<string, Uint8Array>();
    for (const name of names.toString('utf8').split('\0')) {
      if (name === '') continue;
      found.set(
        name,
        readSized((out, size) => bytePathLibc.lgetxattr(target, name, out, size), action),
      );
    }
    return found;
  },
  setTime(path, mtimeNs) {
    const nanos = ((mtimeNs % NANOS_PER_SECOND) + NANOS_PER_SECOND) % NANOS_PER_SECOND;
    const times = Buffer.alloc(32);
    for (const at of [0, 16]) {
      times.writeBigInt64LE((mtimeNs - nanos) / NANOS_PER_SECOND, at);
      times.writeBigInt64LE(nanos, at + 8);
    }
    const result = bytePathLibc.utimensat(AT_FDCWD, terminated(path), times, AT_SYMLINK_NOFOLLOW);
    check(result, () => `setting the time of ${shown(path)}`);
  },
};

/** Asks for the length first, and again when it has changed meanwhile (ERANGE). */
function readSized(
  call: (out: Uint8Array | null, sizeBytes: number) => number,
  action: string,
): Buffer {
  for (;;) {
    const size = call(null, 0);
    if (!checkUnless(size, ['EOPNOTSUPP'], action) || size === 0) return Buffer.alloc(0);
    const bytes = Buffer.alloc(size);
    const length = call(bytes, size);
    if (checkUnless(length, ['ERANGE'], action)) return bytes.subarray(0, length);
  }
}

function terminated(path: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(path.length + 1);
  bytes.set(path);
  return bytes;
}

function shown(path: Uint8Array): string {
  return Buffer.from(path).toString('utf8');
}
