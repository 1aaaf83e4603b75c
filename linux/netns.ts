import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { HatobaError, errnoOf } from '../common/errors.js';
import { CLONE_FS, CLONE_NEWNET, check, lastErrno, libc, openPath, withFd } from './libc.js';
import { abortLostThread } from './lost-thread.js';
import { errnoName } from './errno.js';
import { MS_BIND, isMountPoint, mount, unmount } from './mount.js';

const NSFS_MAGIC = 0x6e736673;
const OWN_NETNS = '/proc/thread-self/ns/net';

const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 0x1;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 0o2000002;

/**
 * The network namespaces as one thread sees them.
 * 1. Outside of `inside()` and `createNetns()` the thread is in the namespace it started in.
 * 2. Both are synchronous; when the way back fails the process is aborted, because every later call
 *    would change the wrong namespace.
 */
export class NetnsThread {
  readonly #ownFd: number;

  constructor() {
    // A working directory and umask of this thread's own: both are changed for a moment at times.
    check(libc.unshare(CLONE_FS), 'giving the worker thread its own working directory');
    this.#ownFd = openPath(OWN_NETNS, 'starting the worker thread');
  }

  /** Runs `use` inside the namespace of `path`; where undefined, in the thread's own. */
  inside<T>(path: string | undefined, use: () => T): T {
    if (path === undefined) return use();
    const action = `entering network namespace ${path}`;
    return withFd(openPath(path, action), (fd) => {
      check(libc.setns(fd, CLONE_NEWNET), action);
      try {
        return use();
      } finally {
        this.#goBack();
      }
    });
  }

  /** See Namespaces.createNetns. */
  createNetns(path: string): void {
    if (hasNetns(path)) return;
    const action = `creating network namespace ${path}`;
    mkdirSync(dirname(path), { recursive: true });
    closeSync(openSync(path, 'a', 0o600));
    check(libc.unshare(CLONE_NEWNET), action);
    try {
      raiseLoopback(action);
      mount({ source: OWN_NETNS, target: path, flags: MS_BIND }, action);
    } catch (error) {
      this.#goBack();
      rmSync(path, { force: true });
      throw error;
    }
    this.#goBack();
  }

  close(): void {
    libc.close(this.#ownFd);
  }

  #goBack(): void {
    if (libc.setns(this.#ownFd, CLONE_NEWNET) === 0) return;
    abortLostThread(`leaving a network namespace: ${errnoName(lastErrno())}`);
  }
}

/** See Namespaces.dropNetns. What this process holds open in it must have been closed. */
export function dropNetns(path: string): void {
  unmount(path);
  rmSync(path, { force: true });
}

/** See Namespaces.hasNetns. */
export function hasNetns(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC && isMountPoint(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return false;
    throw error;
  }
}

/**
 * What tells a namespace from every other that is alive: kept beside a descriptor opened in it, it
 * shows whether `path` still means the same one.
 * @throws {HatobaError} not-found
 */
export function netnsIdentity(path: string): string {
  const there = statSync(path, { throwIfNoEntry: false, bigint: true });
  if (there === undefined) {
    throw new HatobaError('not-found', `network namespace ${path}: there is no such file`);
  }
  return `${there.dev}:${there.ino}`;
}

/** See Namespaces.setSysctls; the thread must be in the namespace meant. */
export function writeSysctls(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    const path = sysctlPath(name);
    try {
      writeFileSync(path, value);
    } catch (error) {
      const errno = errnoOf(error) ?? String(error);
      const kind =
        errno === 'ENOENT'
          ? 'not-found'
          : errno === 'EINVAL'
            ? 'invalid-argument'
            : 'permission-denied';
      throw new HatobaError(kind, `setting kernel parameter ${name} to "${value}": ${errno}`, {
        detail: { errno },
      });
    }
  }
}

/** See Namespaces.sysctls; the thread must be in the namespace meant. */
export function readSysctls(names: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (const name of names) {
    try {
      values[name] = readFileSync(sysctlPath(name), 'utf8').replace(/\n$/, '');
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return values;
}

function sysctlPath(name: string): string {
  if (!/^[\w/.:@-]+$/.test(name) || name.includes('..')) {
    throw new HatobaError('invalid-argument', `kernel parameter "${name}": that is no name`);
  }
  // "net/ipv4/conf/eth0.5/rp_filter": a name with "/" keeps its dots, as sysctl(8) has it.
  return `/proc/sys/${name.includes('/') ? name : name.replaceAll('.', '/')}`;
}

function raiseLoopback(action: string): void {
  withFd(check(libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0), action), (fd) => {
    const request = Buffer.alloc(40); // struct ifreq: name[16], then the flags
    request.write('lo', 'latin1');
    request.writeInt16LE(IFF_UP, 16);
    check(libc.ioctl(fd, SIOCSIFFLAGS, request), `${action}: raising lo`);
  });
}
