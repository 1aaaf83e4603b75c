import { existsSync, readFileSync, mkdirSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { HatobaError } from '../common/errors.js';
import { errnoError, errnoName } from './errno.js';
import { AT_FDCWD, check, checkUnless, lastErrno, libc, mountApi, withFd } from './libc.js';
import {
  findMount,
  isShared,
  mountPointsUnder,
  parseMountinfo,
  type MountEntry,
} from './mountinfo.js';
import { legacyOverlay } from './overlay-options.js';
import type { OverlayMount } from './ports.js';
import type { CallHandlers } from './protocol.js';

export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
const MS_REMOUNT = 0x20;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
const MS_SHARED = 1 << 20;
const MNT_DETACH = 0x2;
const UMOUNT_NOFOLLOW = 0x8;

const FSOPEN_CLOEXEC = 0x1;
const FSMOUNT_CLOEXEC = 0x1;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_RECURSIVE = 0x8000;
const MOUNT_ATTR_RDONLY = 0x1;
const STATX_BASIC_STATS = 0x7ff;
const STATX_ATTR_MOUNT_ROOT = 0x2000n;
const OFFSET_OF_ATTRIBUTES = 8;

/** Nobody stacks more on one path by accident; a bound, so that unmount() always ends. */
const MAX_STACKED_MOUNTS = 64;

export const mountHandlers: CallHandlers<
  | 'mounts.overlay'
  | 'mounts.bind'
  | 'mounts.tmpfs'
  | 'mounts.makeShared'
  | 'mounts.unmount'
  | 'mounts.list'
> = {
  'mounts.overlay': mountOverlay,
  'mounts.bind': bind,
  'mounts.tmpfs': mountTmpfs,
  'mounts.makeShared': makeShared,
  'mounts.unmount': unmount,
  'mounts.list': (prefix) => mountPointsUnder(readMounts(), prefix),
};

/** The mounts of the namespace this thread is in at the moment. */
export function readMounts(): MountEntry[] {
  return parseMountinfo(readFileSync('/proc/thread-self/mountinfo', 'utf8'));
}

/** Whether something is mounted exactly at `path`. A path that is not there: no. */
export function isMountPoint(path: string): boolean {
  const out = Buffer.alloc(256);
  const result = libc.statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, out);
  if (!checkUnless(result, ['ENOENT', 'ENOTDIR'], `looking at ${path}`)) return false;
  return (out.readBigUInt64LE(OFFSET_OF_ATTRIBUTES) & STATX_ATTR_MOUNT_ROOT) !== 0n;
}

/** mount(2). @throws {HatobaError} "action: ERRNO" */
export function mount(
  request: { source?: string; target: string; type?: string; flags?: number; data?: string },
  action: string,
): void {
  const { source = null, target, type = null, flags = 0, data = null } = request;
  check(libc.mount(source, target, type, flags, data), action);
}

function mountOverlay(request: OverlayMount): void {
  const action = `mounting an overlay on ${request.target}`;
  if (request.lowerDirs.length === 0) {
    throw new HatobaError('invalid-argument', `${action}: it has no lower directory`);
  }
  if (isMountPoint(request.target)) {
    const there = findMount(readMounts(), request.target);
    const isOurs = there?.type === 'overlay' && there.superOptions.some(isUpperOf(request));
    if (isOurs) return;
    throw new HatobaError(
      'already-exists',
      `${action}: ${there?.type ?? 'another file system'} is mounted there; unmount it first`,
    );
  }
  takesLayersOneByOne ??= probeLayersOneByOne();
  if (takesLayersOneByOne) overlayByFsopen(request, action);
  else overlayByMount(request, action);
}

let takesLayersOneByOne: boolean | undefined;

/**
 * Linux 6.8 looks at a layer as soon as it is told of it. From 6.5 there is no such option, and
 * before, overlayfs keeps any option unread until the mount is made.
 */
function probeLayersOneByOne(): boolean {
  const action = 'asking the kernel for overlayfs';
  const fsFd = mountApi.fsopen('overlay', FSOPEN_CLOEXEC);
  if (!checkUnless(fsFd, ['ENOSYS'], action)) return false;
  return withFd(fsFd, () => {
    const result = mountApi.fsconfig(fsFd, FSCONFIG_SET_STRING, 'lowerdir+', '/proc/self/none');
    return result < 0 && errnoName(lastErrno()) === 'ENOENT';
  });
}

/** Recognizes the option of a mount that names the upper folder; as legacyOverlay wrote it, too. */
function isUpperOf({ upperDir }: OverlayMount): (option: string) => boolean {
  return (option) => {
    if (!option.startsWith('upperdir=')) return false;
    const shown = option.slice('upperdir='.length);
    if (shown === upperDir) return true;
    const path = shown.replace(/\\(.)/g, '$1');
    return path === upperDir || (!path.startsWith('/') && upperDir.endsWith(`/${path}`));
  };
}

function overlayByFsopen(request: OverlayMount, action: string): void {
  const fsFd = check(mountApi.fsopen('overlay', FSOPEN_CLOEXEC), action);
  withFd(fsFd, () => {
    const set = (key: string, value: string): number =>
      mountApi.fsconfig(fsFd, FSCONFIG_SET_STRING, key, value);
    for (const lowerDir of request.lowerDirs) {
      checkFs(set('lowerdir+', lowerDir), fsFd, `${action}: lower directory ${lowerDir}`);
    }
    const settings = { upperdir: request.upperDir, workdir: request.workDir };
    for (const [key, value] of Object.entries(settings)) {
      checkFs(set(key, value), fsFd, `${action}: ${key} ${value}`);
    }
    const created = mountApi.fsconfig(fsFd, FSCONFIG_CMD_CREATE, null, null);
    checkFs(created, fsFd, action);
    const mountFd = checkFs(mountApi.fsmount(fsFd, FSMOUNT_CLOEXEC, 0), fsFd, action);
    withFd(mountFd, () => check(mountApi.moveMount(mountFd, request.target), action));
  });
}

/** As check(), with the reason that the file system left in its context. */
function checkFs(result: number, fsFd: number, action: string): number {
  if (result >= 0) return result;
  const errno = lastErrno();
  throw errnoError(action, errno, fsContextLog(fsFd));
}

/** The messages waiting in a file system context: "e overlay: workdir and upperdir must …". */
function fsContextLog(fsFd: number): string {
  const lines: string[] = [];
  const buffer = Buffer.alloc(1024);
  // Each read gives one message; ENODATA ends them. The kernel keeps eight.
  for (let i = 0; i < 8; i++) {
    const length = libc.read(fsFd, buffer, buffer.length);
    if (length <= 0) break;
    lines.push(buffer.toString('utf8', 0, length).trim());
  }
  return lines.join('; ');
}

/** The way of kernels before 6.8: all in one option string of at most a page. */
function overlayByMount(request: OverlayMount, action: string): void {
  const { lowerDirs, upperDir, workDir } = request;
  const missing = [...lowerDirs, upperDir, workDir].find((path) => !existsSync(path));
  if (missing !== undefined) throw errnoError(`${action}: ${missing}`, constants.errno.ENOENT);
  const { directory, data } = legacyOverlay(request);
  if (directory !== undefined) check(libc.chdir(directory), `${action}: entering ${directory}`);
  try {
    mount({ source: 'overlay', target: request.target, type: 'overlay', data }, action);
  } finally {
    if (directory !== undefined) libc.chdir('/');
  }
}

function bind(
  source: string,
  target: string,
  options: { readOnly?: boolean; recursive?: boolean },
): void {
  const action = `binding ${source} on ${target}`;
  const recursive = options.recursive === true ? MS_REC : 0;
  if (!(isMountPoint(target) && isSameFile(source, target))) {
    mount({ source, target, flags: MS_BIND | recursive }, action);
  }
  if (options.readOnly !== true) return;
  try {
    setReadOnly(target, options.recursive === true, action);
  } catch (error) {
    // A mount that should be read-only and is not must not stay.
    libc.umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    throw error;
  }
}

function setReadOnly(target: string, recursive: boolean, action: string): void {
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_RDONLY), 0);
  const result = mountApi.mountSetattr(target, recursive ? AT_RECURSIVE : 0, attributes);
  if (checkUnless(result, ['ENOSYS'], `${action} read-only`)) return;
  // Before 5.12 only the topmost mount can be made so.
  const flags = MS_BIND | MS_REMOUNT | MS_RDONLY;
  mount({ target, flags }, `${action} read-only`);
}

function isSameFile(a: string, b: string): boolean {
  const [x, y] = [a, b].map((path) => statSync(path, { throwIfNoEntry: false }));
  return x !== undefined && y !== undefined && x.dev === y.dev && x.ino === y.ino;
}

function mountTmpfs(target: string, options: { sizeBytes?: number; mode?: number }): void {
  const action = `mounting a tmpfs on ${target}`;
  if (isMountPoint(target)) {
    const there = findMount(readMounts(), target);
    if (there?.type === 'tmpfs') return;
    throw new HatobaError(
      'already-exists',
      `${action}: ${there?.type ?? 'another file system'} is mounted there; unmount it first`,
    );
  }
  const data = [
    `mode=${(options.mode ?? 0o755).toString(8)}`,
    ...(options.sizeBytes === undefined ? [] : [`size=${options.sizeBytes}`]),
  ].join(',');
  mount({ source: 'tmpfs', target, type: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data }, action);
}

/** See Mounts.makeShared; the folder is made if missing. */
export function makeShared(path: string): void {
  const action = `making ${path} a shared mount`;
  mkdirSync(path, { recursive: true });
  if (!isMountPoint(path)) {
    mount({ source: path, target: path, flags: MS_BIND }, action);
  } else {
    const there = findMount(readMounts(), path);
    if (there !== undefined && isShared(there)) return;
  }
  mount({ target: path, flags: MS_SHARED }, action);
}

/** See Mounts.unmount: afterwards nothing is mounted at `target`, however much was stacked there. */
export function unmount(target: string): void {
  for (let i = 0; i < MAX_STACKED_MOUNTS; i++) {
    const result = libc.umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    if (!checkUnless(result, ['EINVAL', 'ENOENT', 'ENOTDIR'], `unmounting ${target}`)) return;
  }
}
