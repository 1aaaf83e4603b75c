import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { describeError, HatobaError, isKind } from '../common/errors.js';
import { errnoError, errnoName } from './errno.js';
import { check, checkUnless, lastErrno, libc, mountApi, O_CLOEXEC, withFd } from './libc.js';
import {
  isMountPoint,
  mount,
  readMounts,
  unmount,
  MS_NODEV,
  MS_NOSUID,
  MS_PRIVATE,
} from './mount.js';
import { findMount } from './mountinfo.js';
import { fitsMountData, overlayData } from './overlay-options.js';
import type { OverlayMount } from './ports.js';

const FSOPEN_CLOEXEC = 0x1;
const FSMOUNT_CLOEXEC = 0x1;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const OPEN_TREE_CLONE = 1;
const MOUNT_ATTR_IDMAP = 0x100000;

/**
 * See Mounts.overlay.
 * @param options.usernsFd the user namespace of `request.idMap`
 * @param options.oneByOne whether the kernel takes layers one by one; found out unless given
 */
export function mountOverlay(
  request: OverlayMount,
  options: { usernsFd?: number; oneByOne?: boolean } = {},
): void {
  const action = `mounting an overlay on ${request.target}`;
  const { lowerDirs, upperDir, workDir } = request;
  if (lowerDirs.length === 0) {
    throw new HatobaError('invalid-argument', `${action}: it has no lower directory`);
  }
  if (isMounted(request, action)) return;
  const missing = [...lowerDirs, upperDir, workDir].find((path) => !existsSync(path));
  if (missing !== undefined) throw errnoError(`${action}: ${missing}`, constants.errno.ENOENT);
  const oneByOne = options.oneByOne ?? (takesLayersOneByOne ??= probeLayersOneByOne());
  if (options.usernsFd !== undefined) {
    const { usernsFd } = options;
    withScratch(request, (scratch) => {
      withShiftedLowers(request, { scratch, usernsFd }, (shifted) => {
        explainShifted(() => {
          if (oneByOne) overlayByFsopen(shifted, action);
          else overlayFrom(scratch, shifted, action);
        });
      });
    });
  } else if (oneByOne) {
    overlayByFsopen(request, action);
  } else if (fitsMountData(request)) {
    mount(legacyMount(request), action);
  } else {
    withScratch(request, (scratch) => {
      // Names of one to three letters: hundreds of them fit the page that mount(2) takes.
      const links = lowerDirs.map((_, i) => `${scratch}/${i}`);
      for (const [i, link] of links.entries()) symlinkSync(lowerDirs[i] ?? '', link);
      overlayFrom(scratch, { ...request, lowerDirs: links }, action);
    });
  }
}

function isMounted(request: OverlayMount, action: string): boolean {
  if (!isMountPoint(request.target)) return false;
  const there = findMount(readMounts(), request.target);
  if (there?.type === 'overlay' && there.superOptions.some(isUpperOf(request))) return true;
  throw new HatobaError(
    'already-exists',
    `${action}: ${there?.type ?? 'another file system'} is mounted there; unmount it first`,
  );
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

/** Recognizes the option of a mount that names the upper folder. */
function isUpperOf({ upperDir }: OverlayMount): (option: string) => boolean {
  return (option) =>
    option.startsWith('upperdir=') &&
    option.slice('upperdir='.length).replace(/\\(.)/g, '$1') === upperDir;
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

function legacyMount(request: OverlayMount): Parameters<typeof mount>[0] {
  const data = overlayData(request);
  return { source: 'overlay', target: request.target, type: 'overlay', data };
}

/** mount(2) with lower directories that all lie in `directory`, named without it. */
function overlayFrom(directory: string, request: OverlayMount, action: string): void {
  const lowerDirs = request.lowerDirs.map((path) => path.slice(directory.length + 1));
  const before = openSync('.', 'r');
  try {
    check(libc.chdir(directory), `${action}: entering ${directory}`);
    mount(legacyMount({ ...request, lowerDirs }), action);
  } finally {
    libc.chdir(`/proc/self/fd/${before}`);
    closeSync(before);
  }
}

/** A folder beside the work directory, which may hold one level of files; gone afterwards. */
function withScratch(request: OverlayMount, use: (scratch: string) => void): void {
  const scratch = mkdtempSync(`${dirname(request.workDir)}/.lower-`);
  try {
    use(scratch);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/**
 * Shows the lower directories with their owners shifted, as mounts in a small file system of their
 * own on `scratch`. overlayfs clones them for itself, so they end with the call.
 */
function withShiftedLowers(
  request: OverlayMount,
  { scratch, usernsFd }: { scratch: string; usernsFd: number },
  use: (shifted: OverlayMount) => void,
): void {
  const action = `showing layers on ${scratch}`;
  const flags = MS_NOSUID | MS_NODEV;
  mount({ source: 'tmpfs', target: scratch, type: 'tmpfs', flags, data: 'mode=711' }, action);
  try {
    // or each of its mounts would show up in other namespaces too
    mount({ target: scratch, flags: MS_PRIVATE }, action);
    const lowerDirs = request.lowerDirs.map((lowerDir, i) => {
      const target = `${scratch}/${i}`;
      mkdirSync(target);
      mountShifted(lowerDir, target, usernsFd);
      return target;
    });
    use({ ...request, lowerDirs });
  } finally {
    unmount(scratch);
  }
}

const SHIFT_NEEDS = 'containers of their own users need Linux 5.19 or later on ext4, xfs or btrfs';

/** overlayfs of Linux before 5.19 takes no idmapped layers, and says so by EINVAL alone. */
function explainShifted(mountIt: () => void): void {
  try {
    mountIt();
  } catch (error) {
    if (!isKind(error, 'invalid-argument')) throw error;
    const text = `${describeError(error)}; ${SHIFT_NEEDS}`;
    throw new HatobaError('failed-precondition', text, { cause: error });
  }
}

/** An idmapped mount of a directory; see mount_setattr(2). */
function mountShifted(source: string, target: string, usernsFd: number): void {
  const action = `shifting the owners of ${source}`;
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_IDMAP), 0);
  attributes.writeBigUInt64LE(BigInt(usernsFd), 24);
  withFd(check(mountApi.openTree(source, OPEN_TREE_CLONE | O_CLOEXEC), action), (treeFd) => {
    const result = mountApi.mountSetattrFd(treeFd, attributes);
    if (!checkUnless(result, ['EINVAL', 'ENOSYS', 'EOPNOTSUPP'], action)) {
      throw new HatobaError(
        'failed-precondition',
        `${action}: this kernel, or the file system there, has no idmapped mounts; ${SHIFT_NEEDS}`,
      );
    }
    check(mountApi.moveMount(treeFd, target), action);
  });
}
