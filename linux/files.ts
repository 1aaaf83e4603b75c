import { lstatSync } from 'node:fs';
import { HatobaError } from '../common/errors.js';
import { check, checkUnless, libc } from './libc.js';
import type { CallHandlers } from './protocol.js';

const S_IFMT = 0o170000;

export const fileHandlers: CallHandlers<'files.mknod' | 'files.setXattr' | 'files.getXattr'> = {
  'files.mknod': mknod,
  'files.setXattr'(path, name, value) {
    const result = libc.lsetxattr(path, name, value, value.length, 0);
    check(result, `setting attribute ${name} of ${path}`);
  },
  'files.getXattr': getXattr,
};

/** Device number as Linux encodes it for user space (makedev(3)). */
export function makeDevice(major: number, minor: number): bigint {
  const [a, b] = [BigInt(major), BigInt(minor)];
  return (b & 0xffn) | ((a & 0xfffn) << 8n) | ((b & ~0xffn) << 12n) | ((a & ~0xfffn) << 32n);
}

function mknod(path: string, mode: number, major: number, minor: number): void {
  const action = `making device node ${path}`;
  const device = makeDevice(major, minor);
  // The thread has a umask of its own (NetnsThread), which children must not inherit as 0.
  const umask = libc.umask(0);
  try {
    if (checkUnless(libc.mknod(path, mode, device), ['EEXIST'], action)) return;
  } finally {
    libc.umask(umask);
  }
  const there = lstatSync(path, { bigint: true });
  const isSame =
    (Number(there.mode) & (S_IFMT | 0o7777)) === mode && (there.rdev === device || device === 0n);
  if (!isSame) {
    throw new HatobaError('already-exists', `${action}: there is another file of this name`);
  }
}

function getXattr(path: string, name: string): Uint8Array | undefined {
  const action = `reading attribute ${name} of ${path}`;
  // Its size may change between the two calls: ERANGE asks again.
  for (;;) {
    const size = libc.lgetxattr(path, name, null, 0);
    if (!checkUnless(size, ['ENODATA'], action)) return undefined;
    if (size === 0) return new Uint8Array();
    const value = Buffer.alloc(size);
    const length = libc.lgetxattr(path, name, value, size);
    if (!checkUnless(length, ['ERANGE'], action)) continue;
    // A copy of its own: a Buffer may be a view of a pool that cannot be sent to another thread.
    return Uint8Array.from(value.subarray(0, length));
  }
}
