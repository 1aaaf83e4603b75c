import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { HatobaError } from '../common/errors.js';
import { errnoName } from './errno.js';
import { abortLostThread } from './lost-thread.js';
import { CLONE_NEWNS, check, lastErrno, libc, openPath, withFd } from './libc.js';
import {
  MS_BIND,
  MS_PRIVATE,
  MS_REC,
  MS_SLAVE,
  isMountPoint,
  makeShared,
  mount,
  readMounts,
  unmount,
} from './mount.js';
import { findMount, mountPointsUnder, parseMountinfo, type MountEntry } from './mountinfo.js';

const OWN_MOUNT_NAMESPACE = '/proc/thread-self/ns/mnt';
const HYBRID_CGROUP2 = '/sys/fs/cgroup/unified';

/**
 * See Namespaces.pinCrunMountNamespace. A pinned namespace that does not see the shared paths as
 * they are mounted now (they were mounted after it was made) is replaced by a new one; what runs in
 * the old one keeps it.
 */
export function pinCrunMountNamespace(path: string, sharedPaths: readonly string[]): void {
  for (const shared of sharedPaths) makeShared(shared);
  if (isPinned(path)) {
    if (seesShared(path, sharedPaths)) return;
    unmount(path);
  }
  preparePrivateFolder(dirname(path));
  closeSync(openSync(path, 'a', 0o600));
  const action = `pinning a mount namespace on ${path}`;
  const pinned = withFd(openPath(OWN_MOUNT_NAMESPACE, action), (ownFd) => {
    check(libc.unshare(CLONE_NEWNS), action);
    try {
      // Mounts made outside come in, those made inside stay inside.
      mount({ target: '/', flags: MS_REC | MS_SLAVE }, action);
      hideHybridCgroup2(coverOf(path), action);
      return openPath(OWN_MOUNT_NAMESPACE, action);
    } finally {
      goBack(ownFd);
    }
  });
  // A namespace can be bound only from outside of it, so by the descriptor taken along.
  withFd(pinned, () => {
    mount({ source: `/proc/self/fd/${pinned}`, target: path, flags: MS_BIND }, action);
  });
}

/** See Namespaces.unpinMountNamespace. */
export function unpinMountNamespace(path: string): void {
  unmount(path);
  rmSync(path, { force: true });
  const folder = dirname(path);
  // The folder became a mount of its own for the pin alone; see preparePrivateFolder.
  if (isMountPoint(folder) && mountPointsUnder(readMounts(), folder).length === 1) unmount(folder);
  rmSync(coverOf(path), { recursive: true, force: true });
}

/** The folder beside a pinned namespace that lies over cgroup2 in it; see hideHybridCgroup2. */
function coverOf(path: string): string {
  return `${dirname(path)}/cgroup2`;
}

function isPinned(path: string): boolean {
  const there = findMount(readMounts(), path);
  return there?.type === 'nsfs' && there.root.startsWith('mnt:');
}

/** Whether each path, as seen from the pinned namespace, receives what is mounted under it here. */
function seesShared(path: string, sharedPaths: readonly string[]): boolean {
  if (sharedPaths.length === 0) return true;
  const here = readMounts();
  const there = readMountsInside(path);
  return sharedPaths.every((shared) => {
    const group = propagationGroup(findMount(here, shared), 'shared:');
    return group !== undefined && group === propagationGroup(findMount(there, shared), 'master:');
  });
}

function propagationGroup(entry: MountEntry | undefined, kind: string): string | undefined {
  return entry?.propagation.find((p) => p.startsWith(kind))?.slice(kind.length);
}

function readMountsInside(path: string): MountEntry[] {
  const action = `entering mount namespace ${path}`;
  return withFd(openPath(OWN_MOUNT_NAMESPACE, action), (ownFd) =>
    withFd(openPath(path, action), (fd) => {
      check(libc.setns(fd, CLONE_NEWNS), action);
      try {
        return parseMountinfo(readFileSync('/proc/thread-self/mountinfo', 'utf8'));
      } finally {
        goBack(ownFd);
      }
    }),
  );
}

/**
 * The file of a mount namespace can be bound only on a private mount: on a shared one the binding
 * would go into the namespace itself, which the kernel refuses. So its folder becomes one.
 */
function preparePrivateFolder(folder: string): void {
  const action = `preparing ${folder} for a mount namespace`;
  mkdirSync(folder, { recursive: true });
  if (!isMountPoint(folder)) {
    if (mountPointsUnder(readMounts(), folder).length > 0) {
      throw new HatobaError(
        'failed-precondition',
        `${action}: there are mounts under it; give the namespace a folder of its own`,
      );
    }
    mount({ source: folder, target: folder, flags: MS_BIND }, action);
  }
  mount({ target: folder, flags: MS_PRIVATE }, action);
}

/**
 * crun refuses to run where it sees cgroup2 beside cgroup v1. What covers it must be writable: crun
 * takes it for one more hierarchy of version 1, and writes a folder and a file for each container
 * there. So it is an ordinary folder, where they can be removed from outside.
 */
function hideHybridCgroup2(folder: string, action: string): void {
  if (!existsSync(HYBRID_CGROUP2)) return;
  if (findMount(readMounts(), HYBRID_CGROUP2)?.type !== 'cgroup2') return;
  mkdirSync(folder, { recursive: true });
  mount(
    { source: folder, target: HYBRID_CGROUP2, flags: MS_BIND },
    `${action}: hiding ${HYBRID_CGROUP2}`,
  );
}

function goBack(ownFd: number): void {
  if (libc.setns(ownFd, CLONE_NEWNS) === 0) return;
  abortLostThread(`leaving a mount namespace: ${errnoName(lastErrno())}`);
}
