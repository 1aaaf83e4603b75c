import { existsSync, lstatSync, readdirSync, readFileSync, statSync, type Stats } from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Device, Limit, ThrottleDevice } from '../../proto/gen/hatoba/v1/types.js';
import type { GrantedDevice } from '../core/bundle.js';
import type { DeviceRate, DiskThrottles } from '../core/cgroup-plan.js';

/** Parts of /dev that every container has of its own. */
const OWN_FOLDERS: ReadonlySet<string> = new Set(['pts', 'shm', 'fd', 'mqueue', '.udev']);
const OWN_DEVICES: ReadonlySet<string> = new Set([
  '/dev/console',
  '/dev/ptmx',
  '/dev/null',
  '/dev/zero',
  '/dev/full',
  '/dev/tty',
  '/dev/random',
  '/dev/urandom',
]);

/**
 * The devices of the host that a container gets: single ones, all below a folder it asks for, and
 * for a privileged one all there are. Of several at one path the one that was asked for is taken.
 * @throws {HatobaError} invalid-argument for a path that is no device
 */
export function readDevices(spec: {
  privileged: boolean;
  devices: readonly Device[];
}): readonly GrantedDevice[] {
  const all = spec.privileged ? readAllDevices() : [];
  const granted = [...all, ...spec.devices.flatMap(readWanted)];
  return [...new Map(granted.map((g) => [g.device.path, g])).values()];
}

function readWanted(wish: Device): readonly GrantedDevice[] {
  const source = wish.pathOnHost;
  const access = wish.cgroupPermissions === '' ? 'rwm' : wish.cgroupPermissions;
  if (!/^[rwm]+$/.test(access)) {
    throw new HatobaError(
      'invalid-argument',
      `device ${source}: permissions "${access}" must be made of r, w and m`,
    );
  }
  const target = wish.pathInContainer === '' ? source : wish.pathInContainer;
  const stat = statDevice(source);
  if (!stat.isDirectory()) return [toDevice(source, target, stat, access)];
  const found = devicesBelow(source);
  if (found.length === 0) {
    throw new HatobaError('invalid-argument', `there is no device in the folder ${source}`);
  }
  return found.map(([path, device]) =>
    toDevice(path, `${target}${path.slice(source.length)}`, device, access),
  );
}

function readAllDevices(): readonly GrantedDevice[] {
  return devicesBelow('/dev')
    .filter(([path]) => !OWN_DEVICES.has(path))
    .map(([path, stat]) => toDevice(path, path, stat, 'rwm'));
}

/**
 * Finds the disks that are to be throttled.
 * @throws {HatobaError} invalid-argument for a path that is no disk
 */
export function readThrottles(limits: Limit): DiskThrottles {
  return {
    readBps: limits.blkioDeviceReadBps.map(toRate),
    writeBps: limits.blkioDeviceWriteBps.map(toRate),
    readIops: limits.blkioDeviceReadIops.map(toRate),
    writeIops: limits.blkioDeviceWriteIops.map(toRate),
  };
}

/** The kernel counts by whole disks; so a partition stands for its disk. */
function toRate({ path, rate }: ThrottleDevice): DeviceRate {
  const stat = statDevice(path);
  if (!stat.isBlockDevice()) {
    throw new HatobaError('invalid-argument', `device ${path} is no disk, so it has no rate`);
  }
  const { major, minor } = splitDeviceNumber(stat.rdev);
  const folder = `/sys/dev/block/${major}:${minor}`;
  if (!existsSync(`${folder}/partition`)) return { major, minor, rate };
  const [diskMajor = 0, diskMinor = 0] = readFileSync(`${folder}/../dev`, 'utf8')
    .trim()
    .split(':')
    .map(Number);
  return { major: diskMajor, minor: diskMinor, rate };
}

function toDevice(path: string, target: string, stat: Stats, access: string): GrantedDevice {
  const isBlock = stat.isBlockDevice();
  if (!isBlock && !stat.isCharacterDevice()) {
    throw new HatobaError('invalid-argument', `device ${path} is not a device file`);
  }
  return {
    access,
    device: {
      path: target,
      type: isBlock ? 'b' : 'c',
      ...splitDeviceNumber(stat.rdev),
      fileMode: stat.mode & 0o777,
      uid: stat.uid,
      gid: stat.gid,
    },
  };
}

/** Links are left out: they lead to what is found anyway, or out of the folder. */
function devicesBelow(folder: string): readonly (readonly [path: string, stat: Stats])[] {
  return readdirSync(folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    const stat = lstatOrGone(path);
    if (stat?.isDirectory() === true) return OWN_FOLDERS.has(name) ? [] : devicesBelow(path);
    const isDevice = stat?.isBlockDevice() === true || stat?.isCharacterDevice() === true;
    return isDevice ? [[path, stat] as const] : [];
  });
}

/** makedev(3), glibc. */
export function splitDeviceNumber(rdev: number): { major: number; minor: number } {
  const n = BigInt(rdev);
  const major = ((n >> 8n) & 0xfffn) | ((n >> 32n) & 0xfffff000n);
  const minor = (n & 0xffn) | ((n >> 12n) & 0xffffff00n);
  return { major: Number(major), minor: Number(minor) };
}

function statDevice(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error;
    throw new HatobaError('invalid-argument', `device ${path} is not on this node`, {
      cause: error,
    });
  }
}

function lstatOrGone(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
