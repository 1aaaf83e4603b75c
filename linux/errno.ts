import { constants } from 'node:os';
import { HatobaError, type ErrorKind } from '../common/errors.js';

const NAME_OF = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);
// Node lists EOPNOTSUPP and ENOTSUP, EAGAIN and EWOULDBLOCK with one number each: keep the usual name.
NAME_OF.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');
NAME_OF.set(constants.errno.EAGAIN, 'EAGAIN');

const KIND_OF: Readonly<Record<string, ErrorKind>> = {
  ENOENT: 'not-found',
  ENODEV: 'not-found',
  ESRCH: 'not-found',
  ENXIO: 'not-found',
  EEXIST: 'already-exists',
  EPERM: 'permission-denied',
  EACCES: 'permission-denied',
  EINVAL: 'invalid-argument',
  ENAMETOOLONG: 'invalid-argument',
  EBUSY: 'failed-precondition',
  ENOTDIR: 'failed-precondition',
  EISDIR: 'failed-precondition',
  EROFS: 'failed-precondition',
  ENETUNREACH: 'failed-precondition',
  ENOMEM: 'resource-exhausted',
  EMFILE: 'resource-exhausted',
  ENFILE: 'resource-exhausted',
  ENOSPC: 'resource-exhausted',
  ENOBUFS: 'resource-exhausted',
  EAGAIN: 'unavailable',
  EOPNOTSUPP: 'unimplemented',
  ENOSYS: 'unimplemented',
  EPROTONOSUPPORT: 'unimplemented',
  EAFNOSUPPORT: 'unimplemented',
};

/** "ENOENT" for 2; "errno 999" for a number libc does not name. */
export function errnoName(errno: number): string {
  return NAME_OF.get(errno) ?? `errno ${errno}`;
}

/** The kind of error that a system call's errno stands for; `internal` where callers cannot act. */
export function kindOfErrno(errno: number): ErrorKind {
  return KIND_OF[errnoName(errno)] ?? 'internal';
}

/**
 * The error of a failed system call: "mounting overlay on /x: ENOENT (why)".
 * @param action what was being done, to what
 * @param reason the kernel's own words, where it gave some
 */
export function errnoError(action: string, errno: number, reason?: string): HatobaError {
  const name = errnoName(errno);
  const suffix = reason === undefined || reason === '' ? '' : ` (${reason})`;
  return new HatobaError(kindOfErrno(errno), `${action}: ${name}${suffix}`, {
    detail: { errno: name },
  });
}
