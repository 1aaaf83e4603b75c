import { readFileSync, mkdirSync, statSync } from 'node:fs';
import { HatobaError } from '../common/errors.js';
import { AT_FDCWD, check, checkUnless, libc, mountApi } from './libc.js';
import {
  findMount,
  isShared,
  mountPointsUnder,
  parseMountinfo,
  type MountEntry,
} from './mountinfo.js';
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
export const MNT_DETACH = 0x2;
const UMOUNT_NOFOLLOW = 0x8;

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_RECURSIVE = 0x8000;
const MOUNT_ATTR_RDONLY = 0x1;
const STATX_BASIC_STATS = 0x7ff;
const STATX_ATTR_MOUNT_ROOT = 0x2000n;
const OFFSET_OF_ATTRIBUTES = 8;

/** Nobody stacks more on one path by accident; a bound, so that unmount() always ends. */
const MAX_STACKED_MOUNTS = 64;

export const mountHandlers: CallHandlers<
  'mounts.bind' | 'mounts.tmpfs' | 'mounts.makeShared' | 'mounts.unmount' | 'mounts.list'
> = {
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
