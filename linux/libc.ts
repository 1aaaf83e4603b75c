import { constants } from 'node:os';
import koffi from 'koffi';
import { errnoError } from './errno.js';

/**
 * The C library, loaded into the worker thread. Only what is thread-safe and used is bound; the
 * newer mount calls go by number, as glibc has names for them only since 2.36 (the numbers are the
 * same on every architecture since Linux 5.0).
 */
const library = koffi.load('libc.so.6');

function bind<F>(prototype: string): F {
  return library.func(prototype) as unknown as F;
}
function bindOptional<F>(prototype: string): F | undefined {
  try {
    return bind<F>(prototype);
  } catch {
    // This C library is older than the function.
    return undefined;
  }
}
function bindSyscall<F>(argumentTypes: readonly string[]): F {
  return library.func('syscall', 'long', ['long', ...argumentTypes]) as unknown as F;
}

type Pointer = Uint8Array | null;

export const libc = {
  open: bind<(path: string, flags: number, mode: number) => number>(
    'int open(const char *path, int flags, unsigned int mode)',
  ),
  close: bind<(fd: number) => number>('int close(int fd)'),
  read: bind<(fd: number, buffer: Uint8Array, sizeBytes: number) => number>(
    'long read(int fd, void *buffer, size_t sizeBytes)',
  ),
  fcntl: bind<(fd: number, command: number, argument: number) => number>(
    'int fcntl(int fd, int command, long argument)',
  ),
  ioctl: bind<(fd: number, request: number, argument: Uint8Array) => number>(
    'int ioctl(int fd, unsigned long request, void *argument)',
  ),
  pipe2: bind<(fds: Uint8Array, flags: number) => number>('int pipe2(void *fds, int flags)'),
  chdir: bind<(path: string) => number>('int chdir(const char *path)'),
  umask: bind<(mask: number) => number>('unsigned int umask(unsigned int mask)'),
  abort: bind<() => void>('void abort()'),

  unshare: bind<(flags: number) => number>('int unshare(int flags)'),
  setns: bind<(fd: number, kind: number) => number>('int setns(int fd, int kind)'),

  mount: bind<
    (
      source: string | null,
      target: string,
      type: string | null,
      flags: number,
      data: string | null,
    ) => number
  >(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: bind<(target: string, flags: number) => number>(
    'int umount2(const char *target, int flags)',
  ),
  statx: bind<
    (dirFd: number, path: string, flags: number, mask: number, out: Uint8Array) => number
  >('int statx(int dirFd, const char *path, int flags, unsigned int mask, void *out)'),

  mknod: bind<(path: string, mode: number, device: bigint) => number>(
    'int mknod(const char *path, unsigned int mode, uint64_t device)',
  ),
  lsetxattr: bind<
    (path: string, name: string, value: Uint8Array, sizeBytes: number, flags: number) => number
  >('int lsetxattr(const char *path, const char *name, void *value, size_t sizeBytes, int flags)'),
  lgetxattr: bind<(path: string, name: string, value: Pointer, sizeBytes: number) => number>(
    'long lgetxattr(const char *path, const char *name, void *value, size_t sizeBytes)',
  ),

  socket: bind<(domain: number, type: number, protocol: number) => number>(
    'int socket(int domain, int type, int protocol)',
  ),
  bind: bind<(fd: number, address: Uint8Array, sizeBytes: number) => number>(
    'int bind(int fd, void *address, unsigned int sizeBytes)',
  ),
  setsockopt: bind<
    (fd: number, level: number, option: number, value: Uint8Array, sizeBytes: number) => number
  >('int setsockopt(int fd, int level, int option, void *value, unsigned int sizeBytes)'),
  send: bind<(fd: number, message: Uint8Array, sizeBytes: number, flags: number) => number>(
    'long send(int fd, void *message, size_t sizeBytes, int flags)',
  ),
  recv: bind<(fd: number, buffer: Uint8Array, sizeBytes: number, flags: number) => number>(
    'long recv(int fd, void *buffer, size_t sizeBytes, int flags)',
  ),

  posixSpawn: bind<
    (
      pid: Uint8Array,
      path: string,
      actions: Uint8Array,
      attributes: Uint8Array,
      argv: readonly (string | null)[],
      envp: readonly (string | null)[],
    ) => number
  >(
    'int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
  ),
  spawnActionsInit: bind<(actions: Uint8Array) => number>(
    'int posix_spawn_file_actions_init(void *actions)',
  ),
  spawnActionsDestroy: bind<(actions: Uint8Array) => number>(
    'int posix_spawn_file_actions_destroy(void *actions)',
  ),
  spawnActionsDup2: bind<(actions: Uint8Array, from: number, to: number) => number>(
    'int posix_spawn_file_actions_adddup2(void *actions, int from, int to)',
  ),
  spawnActionsOpen: bind<
    (actions: Uint8Array, fd: number, path: string, flags: number, mode: number) => number
  >(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
  ),
  spawnActionsClose: bind<(actions: Uint8Array, fd: number) => number>(
    'int posix_spawn_file_actions_addclose(void *actions, int fd)',
  ),
  spawnActionsChdir: bind<(actions: Uint8Array, path: string) => number>(
    'int posix_spawn_file_actions_addchdir_np(void *actions, const char *path)',
  ),
  spawnAttributesInit: bind<(attributes: Uint8Array) => number>(
    'int posix_spawnattr_init(void *attributes)',
  ),
  spawnAttributesDestroy: bind<(attributes: Uint8Array) => number>(
    'int posix_spawnattr_destroy(void *attributes)',
  ),
  spawnAttributesFlags: bind<(attributes: Uint8Array, flags: number) => number>(
    'int posix_spawnattr_setflags(void *attributes, short flags)',
  ),
  spawnAttributesMask: bind<(attributes: Uint8Array, set: Uint8Array) => number>(
    'int posix_spawnattr_setsigmask(void *attributes, void *set)',
  ),
  spawnAttributesDefault: bind<(attributes: Uint8Array, set: Uint8Array) => number>(
    'int posix_spawnattr_setsigdefault(void *attributes, void *set)',
  ),
  waitpid: bind<(pid: number, status: Uint8Array, options: number) => number>(
    'int waitpid(int pid, void *status, int options)',
  ),
};

/** Undefined before glibc 2.34. */
export const spawnActionsCloseFrom = bindOptional<(actions: Uint8Array, from: number) => number>(
  'int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)',
);

const syscallFsopen = bindSyscall<(number: number, type: string, flags: number) => number>([
  'const char *',
  'unsigned int',
]);
const syscallFsconfig = bindSyscall<
  (
    number: number,
    fd: number,
    command: number,
    key: string | null,
    value: string | null,
    auxiliary: number,
  ) => number
>(['int', 'unsigned int', 'const char *', 'const char *', 'int']);
const syscallFsmount = bindSyscall<
  (number: number, fd: number, flags: number, attributes: number) => number
>(['int', 'unsigned int', 'unsigned int']);
const syscallMoveMount = bindSyscall<
  (
    number: number,
    fromFd: number,
    fromPath: string,
    toFd: number,
    toPath: string,
    flags: number,
  ) => number
>(['int', 'const char *', 'int', 'const char *', 'unsigned int']);
const syscallMountSetattr = bindSyscall<
  (
    number: number,
    dirFd: number,
    path: string,
    flags: number,
    attributes: Uint8Array,
    sizeBytes: number,
  ) => number
>(['int', 'const char *', 'unsigned int', 'void *', 'size_t']);

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
};

export const AT_FDCWD = -100;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;

/** Descriptor flags of open(2), pipe2(2), socket(2), fcntl(2). */
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CLOEXEC = 0o2000000;
export const F_DUPFD_CLOEXEC = 1030;
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
