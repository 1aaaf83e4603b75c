import { constants } from 'node:os';
import koffi from 'koffi';
import { errnoError } from './errno.js';

/**
 * The C library, loaded into the worker thread. Only what is thread-safe and used is bound; the
 * newer mount calls go by number, as glibc has names for them only since 2.36 (the numbers are the
 * same on every architecture since Linux 5.0).
 */
const library = koffi.load('libc.so.6');

type Pointer = Uint8Array | null;

/** struct msghdr, recvmsg(2); the buffers are filled in place. */
export interface MessageHeader {
  name: null;
  nameBytes: number;
  parts: { base: Uint8Array; sizeBytes: number };
  partCount: number;
  control: Uint8Array;
  controlBytes: number;
  flags: number;
}
koffi.struct('hatoba_iovec', { base: 'void *', sizeBytes: 'size_t' });
koffi.struct('hatoba_msghdr', {
  name: 'void *',
  nameBytes: 'uint32_t',
  parts: 'hatoba_iovec *',
  partCount: 'size_t',
  control: 'void *',
  controlBytes: 'size_t',
  flags: 'int',
});

/** See the manual page of each in section 2 or 3. The spawn functions return the errno itself. */
interface Libc {
  open: (path: string, flags: number, mode: number) => number;
  close: (fd: number) => number;
  read: (fd: number, buffer: Uint8Array, sizeBytes: number) => number;
  fcntl: (fd: number, command: number, argument: number) => number;
  ioctl: (fd: number, request: number, argument: Uint8Array) => number;
  pipe2: (fds: Uint8Array, flags: number) => number;
  chdir: (path: string) => number;
  umask: (mask: number) => number;
  abort: () => void;
  unshare: (flags: number) => number;
  setns: (fd: number, kind: number) => number;
  mount: (
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ) => number;
  umount2: (target: string, flags: number) => number;
  statx: (dirFd: number, path: string, flags: number, mask: number, out: Uint8Array) => number;
  mknod: (path: string, mode: number, device: bigint) => number;
  lsetxattr: (
    path: string,
    name: string,
    value: Uint8Array,
    sizeBytes: number,
    flags: number,
  ) => number;
  lgetxattr: (path: string, name: string, value: Pointer, sizeBytes: number) => number;
  setxattr: (
    path: string,
    name: string,
    value: Uint8Array,
    sizeBytes: number,
    flags: number,
  ) => number;
  getxattr: (path: string, name: string, value: Pointer, sizeBytes: number) => number;
  listxattr: (path: string, names: Pointer, sizeBytes: number) => number;
  /** The name in bytes, with a NUL at its end. */
  mknodat: (dirFd: number, name: Uint8Array, mode: number, device: bigint) => number;
  socket: (domain: number, type: number, protocol: number) => number;
  bind: (fd: number, address: Uint8Array, sizeBytes: number) => number;
  connect: (fd: number, address: Uint8Array, sizeBytes: number) => number;
  listen: (fd: number, backlog: number) => number;
  accept4: (fd: number, address: Pointer, sizeBytes: Pointer, flags: number) => number;
  socketpair: (domain: number, type: number, protocol: number, fds: Uint8Array) => number;
  dup3: (fd: number, onto: number, flags: number) => number;
  recvmsg: (fd: number, message: MessageHeader, flags: number) => number;
  setsockopt: (
    fd: number,
    level: number,
    option: number,
    value: Uint8Array,
    sizeBytes: number,
  ) => number;
  send: (fd: number, message: Uint8Array, sizeBytes: number, flags: number) => number;
  recv: (fd: number, buffer: Uint8Array, sizeBytes: number, flags: number) => number;
  posixSpawn: (
    ...args: [
      pid: Uint8Array,
      path: string,
      actions: Uint8Array,
      attributes: Uint8Array,
      argv: readonly (string | null)[],
      envp: readonly (string | null)[],
    ]
  ) => number;
  spawnActionsInit: (actions: Uint8Array) => number;
  spawnActionsDestroy: (actions: Uint8Array) => number;
  spawnActionsDup2: (actions: Uint8Array, from: number, to: number) => number;
  spawnActionsOpen: (
    actions: Uint8Array,
    fd: number,
    path: string,
    flags: number,
    mode: number,
  ) => number;
  spawnActionsClose: (actions: Uint8Array, fd: number) => number;
  spawnActionsChdir: (actions: Uint8Array, path: string) => number;
  spawnAttributesInit: (attributes: Uint8Array) => number;
  spawnAttributesDestroy: (attributes: Uint8Array) => number;
  spawnAttributesFlags: (attributes: Uint8Array, flags: number) => number;
  spawnAttributesMask: (attributes: Uint8Array, set: Uint8Array) => number;
  spawnAttributesDefault: (attributes: Uint8Array, set: Uint8Array) => number;
  waitpid: (pid: number, status: Uint8Array, options: number) => number;
}

export const libc: Libc = {
  open: library.func('int open(const char *path, int flags, unsigned int mode)'),
  close: library.func('int close(int fd)'),
  read: library.func('long read(int fd, void *buffer, size_t sizeBytes)'),
  fcntl: library.func('int fcntl(int fd, int command, long argument)'),
  ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)'),
  pipe2: library.func('int pipe2(void *fds, int flags)'),
  chdir: library.func('int chdir(const char *path)'),
  umask: library.func('unsigned int umask(unsigned int mask)'),
  abort: library.func('void abort()'),
  unshare: library.func('int unshare(int flags)'),
  setns: library.func('int setns(int fd, int kind)'),
  mount: library.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: library.func('int umount2(const char *target, int flags)'),
  statx: library.func(
    'int statx(int dirFd, const char *path, int flags, unsigned int mask, void *out)',
  ),
  mknod: library.func('int mknod(const char *path, unsigned int mode, uint64_t device)'),
  lsetxattr: library.func(
    'int lsetxattr(const char *path, const char *name, void *value, size_t sizeBytes, int flags)',
  ),
  lgetxattr: library.func(
    'long lgetxattr(const char *path, const char *name, void *value, size_t sizeBytes)',
  ),
  setxattr: library.func(
    'int setxattr(const char *path, const char *name, void *value, size_t sizeBytes, int flags)',
  ),
  getxattr: library.func(
    'long getxattr(const char *path, const char *name, void *value, size_t sizeBytes)',
  ),
  listxattr: library.func('long listxattr(const char *path, void *names, size_t sizeBytes)'),
  mknodat: library.func(
    'int mknodat(int dirFd, const void *name, unsigned int mode, uint64_t device)',
  ),
  socket: library.func('int socket(int domain, int type, int protocol)'),
  bind: library.func('int bind(int fd, void *address, unsigned int sizeBytes)'),
  connect: library.func('int connect(int fd, void *address, unsigned int sizeBytes)'),
  listen: library.func('int listen(int fd, int backlog)'),
  accept4: library.func('int accept4(int fd, void *address, void *sizeBytes, int flags)'),
  socketpair: library.func('int socketpair(int domain, int type, int protocol, void *fds)'),
  dup3: library.func('int dup3(int fd, int onto, int flags)'),
  recvmsg: library.func('long recvmsg(int fd, _Inout_ hatoba_msghdr *message, int flags)'),
  setsockopt: library.func(
    'int setsockopt(int fd, int level, int option, void *value, unsigned int sizeBytes)',
  ),
  send: library.func('long send(int fd, void *message, size_t sizeBytes, int flags)'),
  recv: library.func('long recv(int fd, void *buffer, size_t sizeBytes, int flags)'),
  posixSpawn: library.func(
    'int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
  ),
  spawnActionsInit: library.func('int posix_spawn_file_actions_init(void *actions)'),
  spawnActionsDestroy: library.func('int posix_spawn_file_actions_destroy(void *actions)'),
  spawnActionsDup2: library.func(
    'int posix_spawn_file_actions_adddup2(void *actions, int from, int to)',
  ),
  spawnActionsOpen: library.func(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
  ),
  spawnActionsClose: library.func('int posix_spawn_file_actions_addclose(void *actions, int fd)'),
  spawnActionsChdir: library.func(
    'int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)',
  ),
  spawnAttributesInit: library.func('int posix_spawnattr_init(void *attributes)'),
  spawnAttributesDestroy: library.func('int posix_spawnattr_destroy(void *attributes)'),
  spawnAttributesFlags: library.func('int posix_spawnattr_setflags(void *attributes, short flags)'),
  spawnAttributesMask: library.func('int posix_spawnattr_setsigmask(void *attributes, void *set)'),
  spawnAttributesDefault: library.func(
    'int posix_spawnattr_setsigdefault(void *attributes, void *set)',
  ),
  waitpid: library.func('int waitpid(int pid, void *status, int options)'),
};

/**
 * Calls on paths that are bytes, with a NUL at their end: names on disk need not be UTF-8.
 * See the manual page of each in section 2.
 */
export const bytePathLibc = {
  mknod: library.func('mknod', 'int', ['void *', 'unsigned int', 'uint64_t']) as (
    path: Uint8Array,
    mode: number,
    device: bigint,
  ) => number,
  lsetxattr: library.func('lsetxattr', 'int', [
    'void *',
    'const char *',
    'void *',
    'size_t',
    'int',
  ]) as (
    path: Uint8Array,
    name: string,
    value: Uint8Array,
    sizeBytes: number,
    flags: number,
  ) => number,
  lgetxattr: library.func('lgetxattr', 'long', ['void *', 'const char *', 'void *', 'size_t']) as (
    path: Uint8Array,
    name: string,
    value: Pointer,
    sizeBytes: number,
  ) => number,
  llistxattr: library.func('llistxattr', 'long', ['void *', 'void *', 'size_t']) as (
    path: Uint8Array,
    names: Pointer,
    sizeBytes: number,
  ) => number,
  utimensat: library.func('utimensat', 'int', ['int', 'void *', 'void *', 'int']) as (
    dirFd: number,
    path: Uint8Array,
    times: Uint8Array,
    flags: number,
  ) => number,
};

/** Undefined before glibc 2.34. */
export const spawnActionsCloseFrom = findCloseFrom();

function findCloseFrom(): ((actions: Uint8Array, from: number) => number) | undefined {
  try {
    return library.func('int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)');
  } catch {
    // koffi throws for a name that the library does not have.
    return undefined;
  }
}

/** syscall(2) with the arguments of one call: number, then `argumentTypes`. */
function syscall(...argumentTypes: readonly string[]): (...args: readonly unknown[]) => number {
  return library.func('syscall', 'long', ['long', ...argumentTypes]);
}
const syscallFsopen = syscall('const char *', 'unsigned int');
const syscallFsconfig = syscall('int', 'unsigned int', 'const char *', 'const char *', 'int');
const syscallFsmount = syscall('int', 'unsigned int', 'unsigned int');
const syscallMoveMount = syscall('int', 'const char *', 'int', 'const char *', 'unsigned int');
const syscallOpenTree = syscall('int', 'const char *', 'unsigned int');
const syscallMountSetattr = syscall('int', 'const char *', 'unsigned int', 'void *', 'size_t');

/** The file-descriptor based mount calls (Linux ≥ 5.2, mount_setattr ≥ 5.12). */
export const mountApi = {
  fsopen: (type: string, flags: number): number => syscallFsopen(430, type, flags),
  fsconfig: (fd: number, command: number, key: string | null, value: string | null): number =>
    syscallFsconfig(431, fd, command, key, value, 0),
  fsmount: (fd: number, flags: number, attributes: number): number =>
    syscallFsmount(432, fd, flags, attributes),
  moveMount: (fromFd: number, target: string): number =>
    syscallMoveMount(429, fromFd, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH),
  mountSetattr: (path: string, flags: number, attributes: Uint8Array): number =>
    syscallMountSetattr(442, AT_FDCWD, path, flags, attributes, attributes.length),
  /** Of the mount that a descriptor is of. */
  mountSetattrFd: (fd: number, attributes: Uint8Array): number =>
    syscallMountSetattr(442, fd, '', AT_EMPTY_PATH, attributes, attributes.length),
  openTree: (path: string, flags: number): number => syscallOpenTree(428, AT_FDCWD, path, flags),
};

export const AT_FDCWD = -100;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const AT_EMPTY_PATH = 0x1000;

/** Descriptor flags of open(2), pipe2(2), socket(2), fcntl(2). */
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CLOEXEC = 0o2000000;
export const F_DUPFD_CLOEXEC = 1030;
export const O_NONBLOCK = 0o4000;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const CLONE_FS = 0x200;
export const CLONE_NEWNS = 0x20000;
export const CLONE_NEWNET = 0x40000000;

/** errno of the call just made. Read it before anything else runs on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/**
 * Passes a system call's result through.
 * @param action what was being done, to what; a function where building it costs
 * @throws {HatobaError} of the errno, when the result is negative
 */
export function check(result: number, action: string | (() => string)): number {
  if (result >= 0) return result;
  const errno = lastErrno();
  throw errnoError(typeof action === 'string' ? action : action(), errno);
}

/**
 * As check(), but the given errnos mean "already so".
 * @returns whether the call did something
 */
export function checkUnless(
  result: number,
  tolerated: readonly (keyof typeof constants.errno)[],
  action: string,
): boolean {
  if (result >= 0) return true;
  const errno = lastErrno();
  if (tolerated.some((name) => constants.errno[name] === errno)) return false;
  throw errnoError(action, errno);
}

/** Runs `use` with an open descriptor and closes it, whatever happens. */
export function withFd<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd);
  } finally {
    libc.close(fd);
  }
}

/** Opens `path` read-only. @throws {HatobaError} naming it */
export function openPath(path: string, action: string): number {
  return check(libc.open(path, O_RDONLY | O_CLOEXEC, 0), () => `${action}: opening ${path}`);
}
